"""Clocks and counters beside the training: speed, time left, memory; none of them decides a bit of the result."""

import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from workers.trainer.report import Emit

_CHECKPOINT_NAMES = tuple(
    f"{prefix}_{name}"
    for prefix in ("train", "valid", "full_valid")
    for name in ("loss", "mean_token_accuracy", "preference_accuracy", "reward_margin")
)
_PROGRESS_EVERY_SECONDS = 1.0
_MEMORY_OF_SPEED = 0.9  # weight of the past in the moving average of seconds per step


class Meter:
    def __init__(self) -> None:
        self._began = self._published = time.monotonic()
        self._said = 0.0
        self._seconds_per_step: float | None = None
        self._evaluation_seconds = 0.0  # the latest one's
        self._publish_seconds = 0.0

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self, tokens: int, device: str) -> dict[str, Any]:
        """tokens_per_second of the step and memory_bytes, the process' peak."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        before = seconds if self._seconds_per_step is None else self._seconds_per_step
        self._seconds_per_step = before * _MEMORY_OF_SPEED + seconds * (1 - _MEMORY_OF_SPEED)
        return {"tokens_per_second": round(tokens / seconds, 1), "memory_bytes": peak_memory(device)}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Time an evaluation."""
        began = time.monotonic()
        yield
        self._evaluation_seconds = time.monotonic() - began

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Time the publishing of a checkpoint."""
        began = time.monotonic()
        yield
        self._published = time.monotonic()
        self._publish_seconds = self._published - began

    def seconds_left(self, *, steps: int, evaluations: int, checkpoints: int) -> float:
        """How long the rest will take: steps by their moving average, others as long as the latest of their kind."""
        stepping = (self._seconds_per_step or 0.0) * steps
        return stepping + self._evaluation_seconds * evaluations + self._publish_seconds * checkpoints

    def since_publish(self) -> float:
        return time.monotonic() - self._published

    def progress(
        self, step: int, total_steps: int, per_epoch: int, eval_steps: int, last: dict[str, Any], emit: Emit
    ) -> None:
        """Emit a progress line, at most one a second, and one for the last step."""
        if time.monotonic() - self._said < _PROGRESS_EVERY_SECONDS and step < total_steps:
            return
        self._said = time.monotonic()
        epochs_left = math.ceil(total_steps / per_epoch) - step // per_epoch
        left = self.seconds_left(
            steps=total_steps - step,
            evaluations=epochs_left + (total_steps // eval_steps - step // eval_steps if eval_steps else 0),
            checkpoints=epochs_left + 1,  # and the model itself
        )
        emit({
            "type": "progress", "step": step, "total_steps": total_steps, "epoch": round(step / per_epoch, 4),
            "train_loss": last["train_loss"], "tokens_per_second": last["tokens_per_second"],
            "seconds_left": round(left, 1),
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
