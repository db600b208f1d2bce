"""train: run the job's backend, publish what it makes, record how it ended."""

import logging
import os
import shutil
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any

from app.blobs import StorageError, storage
from app.config import Settings, settings
from app.core import names
from app.core.job import Checkpoint, NewEvent
from app.core.orders import Order, Signal
from app.core.states import Outcome, Status
from app.store import checkpoints, leases
from app.store.db import transaction
from workers import jobdir, scratch, wording
from workers.backends.base import Backend, Line, TrainerLost
from workers.backends.local import Local
from workers.supervision import Ending, Lease, Stopped, Surrendered, serve

PROGRESS = ("step", "total_steps", "epoch", "train_loss", "tokens_per_second", "memory_bytes", "pace")

SETTLE_POLL_SECONDS = 0.2
FINALIZATION_SECONDS = 1.0
"""About what a job takes from its trainer's end to its own, the model's way into storage left out."""

log = logging.getLogger(__name__)


@cache
def backend() -> Local:
    """This process' backend; its standby trainer lives as long as the process."""
    return Local(standby=settings().trainer_standby, threads=threads(settings(), cores=cores()))


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(chosen: Settings, *, cores: int) -> int:
    """CPU threads of one trainer: more in all than there are cores would slow every one of them down."""
    return chosen.trainer_threads or max(1, cores // max(1, chosen.trainer_concurrency))


def train(job_id: str, *, task_id: str | None = None) -> None:
    """Train a queued job, if it is free."""
    serve(job_id, Status.QUEUED, lambda lease: _train(lease, backend()), task_id=task_id)


def _train(lease: Lease, chosen: Backend) -> Ending:
    publisher = ThreadPoolExecutor(1, "publish")
    try:
        with scratch.directory(lease.job) as directory:
            return _run(lease, chosen, directory, publisher)
    finally:
        publisher.shutdown(wait=False, cancel_futures=True)


def _run(lease: Lease, chosen: Backend, directory: Path, publisher: ThreadPoolExecutor) -> Ending:
    job = lease.job
    jobdir.fetch_rows(job, directory)
    jobdir.write_spec(job, directory, hyperparameters=job.result["hyperparameters"])
    jobdir.fetch_start(job, directory)
    jobdir.fetch_checkpoints(job, directory)
    lease.go_on()
    run = Run(lease, directory, publisher)
    try:
        outcome = chosen.run(directory, run.report)
    except TrainerLost as error:
        run.let_go()
        raise Surrendered(str(error), loss=error.loss) from error
    if outcome is Outcome.STOPPED:
        run.let_go()
        raise Stopped
    return run.ending()


class Run:
    """One run of a backend: its lines become events, progress and published checkpoints."""

    def __init__(self, lease: Lease, directory: Path, publisher: ThreadPoolExecutor) -> None:
        self._lease = lease
        self._directory = directory
        self._publisher = publisher
        self._published: dict[int, Future[None]] = {}  # by step
        self._best_step = 0
        self._needed: set[int] = set()  # steps that must come into storage whatever comes behind them
        self._last: dict[str, Line] = {}
        self._progress: dict[str, Any] = {}
        self._trained_at: float | None = None
        self._upload_seconds = 0.0
        lease.progress = self.progress

    def report(self, lines: Sequence[Line]) -> Order:
        """Take a backend's lines and say what it must do; see `backends.base.Report`."""
        self._lease.append([event for line in lines if (event := self._event(line)) is not None])
        for line in lines:
            self._last[line["type"]] = line
            self._take(line)
        order = self._lease.order()
        failed = any(future.done() and future.exception() for future in self._published.values())
        return Order(Signal.KILL, order.until) if failed else order

    def _take(self, line: Line) -> None:
        if line["type"] == "started":
            self._lease.persist(lambda: self._start(line))
        elif line["type"] in ("progress", "metrics", "ended_early"):
            self._progress = self._progress | {name: line[name] for name in PROGRESS if line.get(name) is not None}
            if "seconds_left" in line:
                self._trained_at = time.monotonic() + line["seconds_left"]
        elif line["type"] == "checkpoint":
            self._take_checkpoint(line)

    def progress(self) -> dict[str, Any] | None:
        """What is known of the run by now, and who held it; the time left grows shorter while the trainer is silent."""
        if not self._progress:
            return None
        told = {**self._progress, "worker": self._lease.job.lease_owner}
        if self._trained_at is None:
            return told
        left = max(0.0, self._trained_at - time.monotonic()) + self._upload_seconds + FINALIZATION_SECONDS
        return {**told, "seconds_left": round(left, 1)}

    def _start(self, line: Line) -> None:
        with transaction() as conn:
            leases.freeze_environment(conn, self._lease.job, line["environment"])
            dropped = checkpoints.drop_beyond(conn, self._lease.job, line.get("resumed_from") or 0)
            checkpoints.mark_best(conn, self._lease.job, line.get("best_step") or 0)
            unusable = checkpoints.unneeded(conn, dropped)
        _remove(unusable)

    def _take_checkpoint(self, line: Line) -> None:
        """Hold on to a checkpoint, since the trainer removes old ones, and publish it when its turn comes."""
        step = line["step"]
        held = self._held(step)
        try:
            shutil.copytree(self._directory / line["path"], held, copy_function=os.link)
        except (shutil.Error, FileNotFoundError):
            shutil.rmtree(held, ignore_errors=True)
            return  # superseded already
        self._published[step] = self._publisher.submit(self._publish, line, held)
        if line.get("best"):
            self._best_step = step
        if line["kind"] != "resume":
            self._needed |= {step, self._best_step}
        self._skip(set(self._published) - self._needed - {step, self._best_step})

    def _skip(self, steps: Collection[int]) -> None:
        """Give up those of the checkpoints that still wait: storage is slower than the training."""
        for step in sorted(steps, reverse=True):  # what begins meanwhile has its best one in storage
            if self._published[step].cancel():
                del self._published[step]
                shutil.rmtree(self._held(step))

    def _held(self, step: int) -> Path:
        return self._directory / "publishing" / f"step-{step}"

    def _event(self, line: Line) -> NewEvent | None:
        if line["type"] == "started":
            return wording.started_event(line, self._lease.job)
        told = wording.EVENTS.get(line["type"])
        return told(line) if told else None

    def _publish(self, line: Line, held: Path) -> None:
        """Store a checkpoint, then make it known; runs beside the training."""
        job, step = self._lease.job, line["step"]
        checkpoint = Checkpoint(
            id=names.checkpoint_id(),
            job_id=job.id,
            attempt=job.attempt,
            step=step,
            kind=line["kind"],
            name=names.checkpoint_name(jobdir.tuned_model(job), step),
            path=f"jobs/{job.id}/a{job.attempt}/step-{step}",
            best=bool(line.get("best")),
            metrics={name: value for name, value in line.get("metrics", {}).items() if value is not None},
            created_at=job.created_at,
        )
        began = time.monotonic()
        storage().put_tree(checkpoint.path, held)
        self._upload_seconds = time.monotonic() - began
        shutil.rmtree(held)
        self._lease.persist(lambda: self._record(checkpoint))

    def _record(self, checkpoint: Checkpoint) -> None:
        with transaction() as conn:
            superseded = checkpoints.replaced(conn, checkpoint)
            recorded = checkpoints.record(conn, self._lease.job, checkpoint)
            superseded += checkpoints.prune(conn, self._lease.job, keep_best=jobdir.keeps_best(self._lease.job))
            superseded = checkpoints.unneeded(conn, superseded)
        if recorded.kind == "epoch" or recorded.best:
            message = f"Checkpoint created at step {recorded.step}"
            data = {"step": recorded.step, "checkpoint": recorded.name}
            self._lease.append([NewEvent(message, data=data, once=f"checkpoint:{recorded.step}")])
        _remove(superseded)

    def let_go(self) -> None:
        """Wait until the checkpoints made so far are published, as long as the run need not end at once."""
        while self._lease.order().signal is not Signal.KILL:
            if not wait(self._published.values(), timeout=SETTLE_POLL_SECONDS).not_done:
                return self.settle()
        return None

    def settle(self) -> None:
        """Wait until every checkpoint is published.

        Raises what kept one from being published.
        """
        for future in self._published.values():
            future.result()

    def ending(self) -> Ending:
        """Publish the model, its hardest rows and its answers under this attempt, and hand on where they lie."""
        self.settle()
        job, done = self._lease.job, self._last["done"]
        root = f"jobs/{job.id}/a{job.attempt}"
        storage().put_tree(f"{root}/model", self._directory / done["path"])
        result = {
            "trained_tokens": done["trained_tokens"],
            "total_steps": done["step"],
            "metrics": done.get("metrics", {}),
            "model_step": done.get("metrics", {}).get("step", done["step"]),
            "manifest": done.get("manifest", {}),
            "model_path": f"{root}/model",
        }
        if "answers" in self._last:
            answers = self._last["answers"]
            storage().put(f"{root}/answers.jsonl", (self._directory / answers["path"]).read_bytes())
            result["answers_path"] = f"{root}/answers.jsonl"
            result["answers"] = {name: answers[name] for name in ("total", "base_exact", "tuned_exact")}
        if "hardest" in self._last:
            hardest = self._last["hardest"]
            storage().put(f"{root}/hardest.jsonl", (self._directory / hardest["path"]).read_bytes())
            result["hardest_path"] = f"{root}/hardest.jsonl"
            result["hardest"] = hardest["found"]
        return Ending(result=result)


def _remove(forgotten: Sequence[Checkpoint]) -> None:
    """Remove the bytes of checkpoints that have no row any more; what storage refuses now is left to the sweep."""
    for checkpoint in forgotten:
        try:
            storage().delete_tree(checkpoint.path)
        except StorageError as error:
            log.warning("%s stays until the sweep: %s", checkpoint.path, error)
