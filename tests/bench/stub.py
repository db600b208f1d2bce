"""The workers' Celery app with a trainer that trains nothing; `celery -A tests.bench.stub worker`.

Tasks, claims, leases, events, files and messages are the service's own. Only the two things that start a trainer's
process are replaced: the backend, and the counting of tokens. A task that does nothing stands beside them.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celery.signals import worker_ready

from app.core.orders import Signal
from app.core.states import Outcome
from tests.bench import noop
from workers import training, validation
from workers.backends.base import Report
from workers.celery import app

STEPS = 1

__all__ = ["app"]


class Backend:
    """Says what a trainer says of a run of one step, and leaves a model of two small files."""

    def prepare(self) -> None:
        """There is nothing to stand by."""

    def run(self, job_dir: Path, report: Report) -> Outcome:
        model = job_dir / "model"
        model.mkdir()
        (model / "adapter_config.json").write_text("{}")
        (model / "adapter_model.safetensors").write_bytes(bytes(64))
        for line in (
            {"type": "started", "step": 0, "total_steps": STEPS, "resumed_from": None, "environment": {"stub": True}},
            {"type": "progress", "step": STEPS, "total_steps": STEPS, "epoch": 1.0, "seconds_left": 0.0},
            {"type": "done", "step": STEPS, "path": model.name, "trained_tokens": 1},
        ):
            if report([line]).signal is not Signal.GO:
                return Outcome.STOPPED
        return Outcome.DONE


class Inspector:
    """What validation reads of a trainer that counts tokens: here a row is a token."""

    def __init__(self, arguments: Sequence[str], *, threads: int) -> None:
        self._directory = Path(arguments[-1])
        self.ended = False

    def read(self, *, seconds: float, most: int) -> list[dict[str, Any]]:
        self.ended = True
        return [_counted(path) for path in sorted(self._directory.glob("*.jsonl"))]

    def wait(self) -> int:
        return 0

    def last_words(self) -> str:
        return ""

    def kill(self) -> None:
        """Nothing runs."""


def _counted(path: Path) -> dict[str, Any]:
    rows = path.read_bytes().count(b"\n")
    counts = {"rows": rows, "tokens": rows, "trained_tokens": rows, "longest": 1}
    nothing = {"cut": {"count": 0, "lines": []}, "findings": [], "finding_count": 0}
    return {"type": "inspected", "file": path.name, **counts, **nothing}


stub = Backend()
setattr(training, "backend", lambda: stub)  # noqa: B010 - a cached function, which types will not have replaced
setattr(validation, "Child", Inspector)  # noqa: B010
app.conf.task_queues = [*app.conf.task_queues, noop.QUEUE]


@app.task(name=noop.NAME)
def nothing() -> None:
    """Nothing: what Celery itself costs."""


@worker_ready.connect
def _must_not_hold_torch(**_: Any) -> None:
    assert "torch" not in sys.modules, "a supervisor must not import torch"
