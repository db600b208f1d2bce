"""Holding a job: claim, heartbeat, drain and finish, the same for every stage.

While a worker holds a job a thread renews the lease; the stage works in the main thread and asks for its orders.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

from app import logs, queue
from app.blobs import StorageError
from app.config import Settings, require
from app.core.errors import JobFailed, Unavailable
from app.core.job import File, Job, Model, NewEvent
from app.core.orders import Order, Signal
from app.core.states import Desired, Outcome, Status
from app.store import events, files, leases, models
from app.store.db import autocommit, transaction
from app.store.leases import LeaseLost

TRUSTED_SHARE_OF_LEASE = 5 / 6
WRITE_RETRY_SECONDS = 0.5
DRAIN_SECONDS = 18.0
"""A drain that takes longer gives up its last checkpoint: hosts send SIGKILL 30 s after SIGTERM."""

shutting_down = multiprocessing.RawValue("b", 0)
"""Becomes 1 in the Celery parent when the worker shuts down; made before the fork, so every pool child sees it.

A bare byte: a lock would stay shut for ever when a child is killed while it holds it.
"""

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The stage let go because it was told to: pause, drain or cancel."""


class Surrendered(Exception):
    """The stage cannot go on here, for a reason that another try may not meet: the clock takes the job back.

    `loss` is `memory` when its process was killed for memory, or others held what it needs.
    """

    def __init__(self, message: str, *, loss: str | None = None) -> None:
        super().__init__(message)
        self.loss = loss


@dataclass(frozen=True)
class Ending:
    """What a stage made: written in the same transaction that ends the worker's turn."""

    outcome: Outcome = Outcome.DONE
    result: Mapping[str, Any] = field(default_factory=dict)
    error: JobFailed | None = None
    files: Sequence[File] = ()
    model: Model | None = None


class Lease:
    """A held job. Use as a context manager: heartbeats run inside the block.

    `until` is the CLOCK_MONOTONIC time up to which the lease can be trusted without hearing from Postgres.
    `progress` is asked at each heartbeat and at the end.
    """

    def __init__(self, job: Job, settings: Settings, claimed_at: float) -> None:
        self.job = job
        self.progress: Callable[[], dict[str, Any] | None] = lambda: None
        self._settings = settings
        self._desired = job.desired
        self._lost = False
        self._terminated = False
        self._drained_since: float | None = None
        self._seq = 0
        self._appending = threading.Lock()
        self.until = claimed_at + settings.lease_seconds * TRUSTED_SHARE_OF_LEASE
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {job.id}", daemon=True)
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_sigterm)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def order(self) -> Order:
        """What the stage must do now, and until when it may go on without asking again."""
        now = time.monotonic()
        if self._drained_since is None and (self._terminated or shutting_down.value):
            self._drained_since = now
        if self._lost or self._desired is Desired.CANCEL or now >= self.until:
            return Order(Signal.KILL, self.until)
        if self._drained_since is not None:
            late = now - self._drained_since > DRAIN_SECONDS
            return Order(Signal.KILL if late else Signal.STOP, self.until)
        return Order(Signal.STOP if self._desired is Desired.PAUSE else Signal.GO, self.until)

    def go_on(self) -> None:
        """Raise Stopped when the stage is no longer wanted here; for stages that are safe to repeat."""
        if self.order().signal is not Signal.GO:
            raise Stopped

    def append(self, new: Sequence[NewEvent]) -> None:
        """Write events under the lease; while Postgres is away, wait for it as long as the lease is trusted.

        Raises LeaseLost.
        """
        if new:
            with self._appending:  # a stage may report from two threads, and a number is taken once
                self.persist(lambda: self._append(new))
                self._seq += len(new)

    def _append(self, new: Sequence[NewEvent]) -> None:
        with autocommit() as conn:
            self._desired = events.append(conn, self.job, new, seq=self._seq)

    def finish(self, ending: Ending) -> Job:
        """End the turn: the row decides the status, and what was made becomes visible with it.

        Raises LeaseLost when the job is another's by now: then nothing was written.
        """
        ended: list[Job] = []
        self.persist(lambda: ended.append(self._finish(ending)))
        return ended[-1]

    def _finish(self, ending: Ending) -> Job:
        with transaction() as conn:
            ended = leases.finish(
                conn,
                self.job,
                ending.outcome,
                result=ending.result,
                error=_error(ending.error) if ending.error else None,
                progress=self.progress(),
            )
            if ended.status is not Status.CANCELLED:
                for file in ending.files:
                    files.insert(conn, file)
            if ending.model is not None and ended.status is Status.SUCCEEDED:
                models.insert(conn, ending.model)
        return ended

    def persist(self, write: Callable[[], None]) -> None:
        """Run a fenced write, again while Postgres is away and the lease is trusted.

        Raises LeaseLost.
        """
        while True:
            try:
                return write()
            except Unavailable:
                if time.monotonic() >= self.until:
                    raise LeaseLost(self.job.id) from None
                self._done.wait(WRITE_RETRY_SECONDS)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True

    def _beat(self) -> None:
        while not self._done.wait(self._settings.heartbeat_seconds):
            asked_at = time.monotonic()
            try:
                with autocommit() as conn:
                    self._desired = leases.renew(
                        conn, self.job, lease_seconds=self._settings.lease_seconds, progress=self.progress()
                    )
            except LeaseLost:
                self._lost = True
                return
            except Unavailable as error:
                log.warning("heartbeat failed: %s", error.message, extra={"job_id": self.job.id})
            else:
                self.until = asked_at + self._settings.lease_seconds * TRUSTED_SHARE_OF_LEASE


def serve(job_id: str, ready: Status, stage: Callable[[Lease], Ending], *, task_id: str | None = None) -> Job | None:
    """Run one stage of a job under a lease, if the job is `ready` and free; otherwise drop the message.

    With its `task_id`, a message that a newer one has replaced is dropped too. Returns the job as it is after this
    turn; None when there was no turn, or it was lost.
    Raises JobFailed after a failed job was recorded, so that the task shows as failed.
    """
    with logs.bound(job_id=job_id):
        ended = _serve(job_id, ready, stage, task_id)
    if ended is not None and ended.status is Status.FAILED:
        raise JobFailed(f"{job_id}: {(ended.error or {}).get('message')}")
    return ended


def _serve(job_id: str, ready: Status, stage: Callable[[Lease], Ending], task_id: str | None) -> Job | None:
    settings = require("database_url", "redis_url", "storage_url")
    claimed_at = time.monotonic()
    with autocommit() as conn:
        job = leases.claim(
            conn, job_id, ready=ready, owner=_owner(), lease_seconds=settings.lease_seconds, task_id=task_id
        )
    if job is None:
        log.info("message dropped: not ready, or another worker has it")
        return None
    log.info("claimed, attempt %d", job.attempt)
    try:
        with Lease(job, settings, claimed_at) as lease:
            queue.refill(ready, job.queue)
            ended = lease.finish(_ending(lease, stage))
    except LeaseLost:
        log.warning("lease lost: another attempt has the job")
        return None
    except (Surrendered, StorageError, Unavailable) as error:
        log.warning("surrendered: %s", error)
        _surrender(job, loss=getattr(error, "loss", None))
        return None
    except Exception:
        _surrender(job)
        raise
    log.info("turn ended, job is %s", ended.status)
    queue.wake(ended)
    return ended


def _ending(lease: Lease, stage: Callable[[Lease], Ending]) -> Ending:
    try:
        return stage(lease)
    except Stopped:
        return Ending(Outcome.STOPPED)
    except JobFailed as error:
        return Ending(Outcome.FAILED, error=error)


def _error(error: JobFailed) -> dict[str, Any]:
    return {"code": error.code or "internal_error", "message": error.message, "param": error.param}


def _surrender(job: Job, *, loss: str | None = None) -> None:
    """Give the job back; only once the heartbeats have ended, since the next one would renew the lease."""
    try:
        with autocommit() as conn:
            leases.surrender(conn, job, loss=loss)
    except Unavailable as error:
        log.warning("not surrendered, the lease will lapse: %s", error.message)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
