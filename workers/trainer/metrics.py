"""Clocks and counters beside the training: speed, time left, memory; none of them decides a bit of the result."""

import resource
import sys
import time
from typing import Any

import torch

from workers.trainer.report import Emit

_CHECKPOINT_NAMES = (
    "train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy",
    "full_valid_loss", "full_valid_mean_token_accuracy",
)  # fmt: skip
_PROGRESS_EVERY_SECONDS = 1.0
_MEMORY_OF_SPEED = 0.9  # weight of the past in the moving average of seconds per step


class Meter:
    def __init__(self) -> None:
        self._began = self._published = time.monotonic()
        self._said = 0.0
        self._seconds_per_step: float | None = None

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self, tokens: int, device: str) -> dict[str, Any]:
        """tokens_per_second of the step and memory_bytes, the process' peak."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        before = seconds if self._seconds_per_step is None else self._seconds_per_step
        self._seconds_per_step = before * _MEMORY_OF_SPEED + seconds * (1 - _MEMORY_OF_SPEED)
        return {"tokens_per_second": round(tokens / seconds, 1), "memory_bytes": peak_memory(device)}

    def published(self) -> None:
        self._published = time.monotonic()

    def since_publish(self) -> float:
        return time.monotonic() - self._published

    def progress(self, step: int, total_steps: int, per_epoch: int, last: dict[str, Any], emit: Emit) -> None:
        """Emit a progress line, at most one a second, and one for the last step."""
        if time.monotonic() - self._said < _PROGRESS_EVERY_SECONDS and step < total_steps:
            return
        self._said = time.monotonic()
        emit({
            "type": "progress", "step": step, "total_steps": total_steps, "epoch": round(step / per_epoch, 4),
            "train_loss": last["train_loss"], "tokens_per_second": last["tokens_per_second"],
            "seconds_left": round((self._seconds_per_step or 0.0) * (total_steps - step), 1),
        })  # fmt: skip


def checkpoint_metrics(step: int, last: dict[str, Any]) -> dict[str, Any]:
    """The metrics a checkpoint shows to a caller; those that were not measured are left out."""
    return {"step": step, **{name: last[name] for name in _CHECKPOINT_NAMES if name in last}}


def peak_memory(device: str) -> int:
    """Bytes: of the accelerator where there is one, else the process' largest resident size."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
