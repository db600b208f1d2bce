"""A backend in the trainer's place that says what it is given, and jobs for it."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.blobs import storage
from app.core import names
from app.core.job import Event, File, Job
from app.core.orders import Signal
from app.core.states import Outcome, Status
from app.store import checkpoints, events, files, leases
from app.store.db import transaction
from tests.store.conftest import PROJECT, claimed, finished, made, now
from workers import training
from workers.backends.base import Report
from workers.supervision import serve

HYPERPARAMETERS = {"epochs": 1, "batch_size": 4, "learning_rate": 0.001, "training_type": "lora"}
STARTED = {"type": "started", "step": 0, "total_steps": 4, "resumed_from": None, "environment": {"dtype": "float32"}}
DONE = {
    "type": "done",
    "step": 4,
    "path": "model",
    "trained_tokens": 80,
    "metrics": {"train_loss": 0.5},
    "manifest": {},
}


def step(number: int) -> dict[str, Any]:
    return {"type": "metrics", "step": number, "total_steps": 4, "train_loss": 1 / number, "valid_loss": None}


class Scripted:
    """A backend that says its lines one by one, and lets go when it is told to."""

    def __init__(self, lines: Sequence[dict[str, Any]], ends: Outcome | Exception = Outcome.DONE) -> None:
        self.lines, self.ends = lines, ends
        self.spec: dict[str, Any] = {}
        self.found: list[str] = []
        self.start: dict[str, bytes] = {}
        self.between: Callable[[], None] = lambda: None

    def run(self, job_dir: Path, report: Report) -> Outcome:
        self.spec = json.loads((job_dir / "spec.json").read_text())
        self.found = sorted(path.name for path in job_dir.glob("checkpoints/*"))
        self.start = {path.name: path.read_bytes() for path in job_dir.glob("start/*")}
        for line in self.lines:
            if line["type"] == "checkpoint":
                (job_dir / line["path"]).mkdir(parents=True, exist_ok=True)
                (job_dir / line["path"] / "manifest.json").write_text("{}")
            if line["type"] == "done":
                (job_dir / "model").mkdir()
                (job_dir / "model" / "adapter_model.safetensors").write_bytes(b"weights")
            if line["type"] == "answers":
                (job_dir / "answers.jsonl").write_text("{}\n")
            if report([line]).signal is not Signal.GO:
                return Outcome.STOPPED
            self.between()
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


def checkpoint_line(number: int, kind: str = "resume") -> dict[str, Any]:
    path = f"checkpoints/step-{number}"
    return {"type": "checkpoint", "step": number, "kind": kind, "path": path, "best": False, "metrics": {}}


def progress_line(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "progress", "step": number, "total_steps": 4, **more}


@pytest.fixture
def waiting_job(key_id) -> Job:
    return waiting(key_id)


def waiting(key_id: str, **spec: Any) -> Job:
    path = f"files/{names.file_id()}"
    written = storage().put(path, b'{"messages": []}\n')
    with transaction() as conn:
        file = files.insert(
            conn,
            File(
                names.file_id(),
                PROJECT,
                "train.jsonl",
                "fine-tune",
                written.size,
                written.sha256,
                path,
                datetime.now(UTC),
            ),
        )
    job = made(key_id, base="tuneyard-tiny", training_file=file.id, method="supervised", seed=1, **spec)
    return finished(claimed(job), Outcome.DONE, result={"hyperparameters": HYPERPARAMETERS})


def trained(job: Job, backend: Scripted) -> Job:
    serve(job.id, Status.QUEUED, lambda lease: training._train(lease, backend))
    return now(job)


def told(job: Job) -> list[Event]:
    with transaction() as conn:
        return list(reversed(events.page(conn, job.id, after=None, limit=100)))


def known(job: Job) -> list[int]:
    with transaction() as conn:
        return [checkpoint.step for checkpoint in checkpoints.resumable(conn, job.id)]


def due(job: Job) -> None:
    with transaction() as conn:
        leases.take_back(conn, retry_seconds=0)
        conn.execute("update jobs set not_before = clock_timestamp() where id = %s", (job.id,))
