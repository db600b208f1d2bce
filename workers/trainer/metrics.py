"""What is measured of a step beside its training, and which metrics a checkpoint shows."""

import time
from typing import Any

from workers.trainer import memory

_CHECKPOINT_NAMES = tuple(
    f"{prefix}_{name}"
    for prefix in ("train", "valid", "full_valid")
    for name in ("loss", "mean_token_accuracy", "preference_accuracy", "reward_margin")
)
_PROGRESS_EVERY_SECONDS = 1.0


class Meter:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said = 0.0
        self._peak = 0

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self, tokens: int, device: str) -> dict[str, Any]:
        """tokens_per_second of the step and memory_bytes, the process' peak."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        return {"tokens_per_second": round(tokens / seconds, 1), "memory_bytes": self.peak(device)}

    def peak(self, device: str) -> int:
        """The most bytes that the process has held so far: of the accelerator where there is one."""
        self._peak = max(self._peak, memory.peak(device))
        return self._peak

    def progress_is_due(self) -> bool:
        """Whether a second has passed since this was last true."""
        now = time.monotonic()
        due = now - self._said >= _PROGRESS_EVERY_SECONDS
        if due:
            self._said = now
        return due


def checkpoint_metrics(step: int, last: dict[str, Any]) -> dict[str, Any]:
    """The metrics a checkpoint shows to a caller; those that were not measured are left out."""
    return {"step": step, **{name: last[name] for name in _CHECKPOINT_NAMES if name in last}}
