"""A service of many workers: servers of its own, Celery workers with a stub for a trainer, and a clock."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery
from redis import Redis

from app import queue
from app.config import require
from app.core.states import TASKS, Status
from app.embedded import postgres, redis
from app.embedded.logs import Log
from app.embedded.processes import Keeper, Program, StackError, free_port, stop_all
from app.embedded.stack import ROOT, as_shipped
from app.store.migrate import migrate
from tests.bench import noop
from tests.services import running, scratch_directory
from tests.settings import settings

START_SECONDS = 120.0
GRACE_SECONDS = 30.0
OPTIONS = ("-l", "INFO", "--without-gossip", "--without-mingle", "-E")


@dataclass(frozen=True)
class Size:
    """How many jobs wait, and who serves them: so many trainer workers of so many slots, and other slots."""

    jobs: int
    trainers: int
    slots: int
    others: int

    @property
    def processes(self) -> int:
        """All pool processes."""
        return self.trainers * self.slots + self.others


class Crowd:
    """The running workers. The clock is not among them until `start_clock`."""

    def __init__(self, size: Size, app: str, directory: Path, held: ExitStack) -> None:
        self.size, self._app = size, app
        self.broker = held.enter_context(Redis.from_url(require("redis_url").redis_url))
        self._directory, self._held = directory, held
        self._celery = Celery("bench", set_as_current=False)
        self._celery.conf.update(queue.celery_settings(require("redis_url"), socket_timeout=10))
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        """Start all workers and wait until each of them answers. Raises StackError."""
        names = [f"trainer-{number}" for number in range(self.size.trainers)]
        for name in names:
            self._worker(name, TASKS[Status.QUEUED], self.size.slots)
        self._worker("worker", f"{TASKS[Status.VALIDATING_FILES]},{TASKS[Status.FINALIZING]}", self.size.others)
        deadline = time.monotonic() + START_SECONDS
        while len(self._celery.control.ping(timeout=1) or []) <= len(names):
            if time.monotonic() > deadline:
                raise StackError("the workers do not start")

    def start_clock(self) -> None:
        """Start the clock: from here on whatever waits is offered."""
        self._program("clock", (sys.executable, "-m", "workers.clock"))

    def noops_per_second(self, count: int) -> float:
        """Tasks per second that do nothing, through these same processes."""
        return noop.per_second(self._celery, self.broker, require(), count=count)

    def _worker(self, name: str, queues: str, slots: int) -> None:
        celery = (sys.executable, "-m", "celery", "-A", self._app, "worker")
        self._program(name, (*celery, "-Q", queues, "-n", f"{name}@%h", "-c", str(slots), *OPTIONS))

    def _program(self, name: str, command: tuple[str, ...]) -> None:
        log = Log(self._directory / "logs" / f"{name}.log", watched=False)
        keeper = Keeper(Program(name, command, self._environment, ROOT), log)
        self._held.callback(stop_all, [keeper], grace_seconds=GRACE_SECONDS)
        keeper.start()


@contextmanager
def crowd(size: Size, app: str = "tests.bench.stub") -> Iterator[Crowd]:
    """Servers with an empty database, the settings as shipped, and the workers of a Celery app up and idle."""
    with ExitStack() as held:
        directory = held.enter_context(scratch_directory())
        database = postgres.prepare(directory, port=free_port(), durable=True)
        broker = redis.prepare(directory, port=free_port())
        held.enter_context(running(database, directory))
        held.enter_context(running(broker, directory))
        (directory / "storage").mkdir()
        given: dict[str, Any] = {name.lower(): value for name, value in as_shipped().items()}
        given |= {"database_url": database.url, "redis_url": broker.url}
        given |= {"storage_url": str(directory / "storage"), "work_dir": str(directory / "work")}
        held.enter_context(settings(**given))
        migrate()
        found = Crowd(size, app, directory, held)
        found.start()
        yield found
