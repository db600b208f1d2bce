"""A job's events as they happen, for a bounded number of listeners of this process.

A listener keeps a thread busy, so listening ends with the job, after a while, and when the process is told to end.
"""

import logging
import threading
import time
from collections.abc import Iterator

from app.config import settings
from app.core.caller import Caller
from app.core.errors import Invalid, Unavailable
from app.core.job import Event
from app.store import events, jobs
from app.store.db import transaction

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 2.0  # that late, too, a client that went away is noticed
BATCH = 100

log = logging.getLogger(__name__)

_lock = threading.Lock()
_listening: set["Listener"] = set()
_ending = threading.Event()


class Listener:
    """Somebody who follows a job; `done` once all events of an ended job were told."""

    def __init__(self, caller: Caller, job_id: str, last: int | None) -> None:
        self.caller = caller
        self.job_id = job_id
        self.last = last
        self.done = False

    def batches(self) -> Iterator[list[Event]]:
        """Events, oldest first, as they happen; an empty batch is a sign of life."""
        ends = time.monotonic() + settings().stream_seconds
        beat = 0.0
        try:
            while not self.done and not _ending.is_set() and time.monotonic() < ends:
                batch = self._news()
                if batch or time.monotonic() >= beat:
                    yield batch
                    beat = time.monotonic() + HEARTBEAT_SECONDS
                if not batch and not self.done:
                    _ending.wait(POLL_SECONDS)
        except Unavailable as error:  # whoever listens comes back, and is answered then
            log.warning("stopped telling events: %s", error, extra={"job_id": self.job_id})
        finally:
            self.close()

    def _news(self) -> list[Event]:
        with transaction() as conn:
            job = jobs.get(conn, self.caller.project_id, self.job_id)  # first: an end is never seen before its event
            batch = events.page(conn, job.id, after=self.last, limit=BATCH, ascending=True)
        self.done = job.ended and len(batch) < BATCH
        if batch:
            self.last = batch[-1].id
        return batch

    def close(self) -> None:
        """Make room for another listener; needed by those that may never begin to listen."""
        with _lock:
            _listening.discard(self)


def listen(caller: Caller, job_id: str, *, after: int | None) -> Listener:
    """Follow a job from its first event, or from behind the one numbered `after`; it must be closed in the end.

    Raises Unknown, Invalid when the job has no such event, and Unavailable when there are as many listeners as may be.
    """
    caller.must("read")
    with transaction() as conn:
        job = jobs.get(conn, caller.project_id, job_id)
        if after is not None and not events.has(conn, job.id, after):
            raise Invalid("The job has no event of this id to go on from.", param="Last-Event-ID")
    listener = Listener(caller, job_id, after)
    most = settings().max_streams
    with _lock:
        if len(_listening) >= most:
            raise Unavailable(
                f"All {most} event streams of this process are taken: please try again, or list the events.",
                code="too_many_streams",
            )
        _listening.add(listener)
    return listener


def end_all() -> None:
    """Let every listener of this process end now, and each later one at once."""
    _ending.set()
