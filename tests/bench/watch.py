"""The window while many jobs go through it, and what a dispatch costs meanwhile."""

import json
import time

from redis import Redis

from app import queue
from app.config import Settings
from app.core.states import TASKS, Status
from app.store.db import autocommit
from tests.onlooker import Onlooker

DISPATCH_SECONDS = 0.25
OFFERED = """
    select count(*) n from jobs where status = %s and woken_at is not null and task_id = any(%s)
"""


class Watch(Onlooker):
    """Looks into the queues, and dispatches now and then, as every process may."""

    def __init__(self, broker: Redis, settings: Settings) -> None:
        super().__init__()
        self.longest = 0
        """Messages in one queue at one moment."""
        self.most_offered = 0
        """The same, without those that a newer message or a claim has made void."""
        self.dispatched: list[float] = []
        """Seconds of each dispatch, its messages included."""
        self._broker, self._prefix = broker, settings.redis_prefix
        self._dispatch_at = 0.0

    def look(self) -> None:
        for status in TASKS:
            self._look_into(status)
        if time.monotonic() >= self._dispatch_at:
            self._dispatch()

    def _look_into(self, status: Status) -> None:
        messages = self._broker.lrange(self._prefix + queue.celery_queue(status, "train"), 0, -1)
        ids = [json.loads(message)["headers"]["id"] for message in messages]
        with autocommit() as conn:
            row = conn.execute(OFFERED, (status, ids)).fetchone()
        assert row is not None
        self.longest = max(self.longest, len(ids))
        self.most_offered = max(self.most_offered, row["n"])

    def _dispatch(self) -> None:
        self._dispatch_at = time.monotonic() + DISPATCH_SECONDS
        began = time.perf_counter()
        queue.dispatch(Status.QUEUED, "train")
        self.dispatched.append(time.perf_counter() - began)
