"""The lookout: waits for moments in which a fault hits something, and until its traces are gone."""

import os
import random
import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from redis import RedisError

from tests.chaos.load import Load
from tests.chaos.plan import Plan
from tests.chaos.scene import QUEUES, Scene
from tests.chaos.tables import Tables
from tests.chaos.witness import Witness
from tests.services import is_gone

LOOK_SECONDS = 0.05
Seen = TypeVar("Seen")
LATEST_SHARE = 0.8  # a run further on may end before the fault strikes


class Stuck(Exception):
    """What must come did not come."""


@dataclass(frozen=True)
class Held:
    """A job in the hands of a worker: the attempt, and the pool child that has it."""

    job: str
    attempt: int
    supervisor: int


@dataclass(frozen=True)
class Training(Held):
    """A held job whose trainer takes steps."""

    trainer: int


class Lookout:
    """Eyes on the scene."""

    def __init__(self, scene: Scene, load: Load, plan: Plan, witness: Witness, tables: Tables) -> None:
        self.scene, self.load, self.plan = scene, load, plan
        self.chance = random.Random(plan.seed)
        self.witness = witness
        self.tables = tables

    def until(self, condition: Callable[[], object], what: str, *, seconds: float | None = None) -> float:
        """Wait for the condition; the monotonic time at which it was seen.

        Raises Stuck after the plan's patience, or so many seconds.
        """
        deadline = time.monotonic() + (seconds or self.plan.patience_seconds)
        while not condition():
            if time.monotonic() > deadline:
                raise Stuck(f"waited in vain: {what}")
            time.sleep(LOOK_SECONDS)
        return time.monotonic()

    def training(self) -> Training:
        """A job in the middle of its training, once there is one."""
        return self._any(self._trainings, "a job in training")

    def _any(self, look: Callable[[], list[Seen]], what: str) -> Seen:
        """One of those that a look finds, once it finds any."""
        found: list[Seen] = []

        def seen() -> list[Seen]:
            found[:] = look()
            return found

        self.until(seen, what)
        return self.chance.choice(found)

    def _trainings(self) -> list[Training]:
        self.witness.look()
        rows = self.tables.rows(
            """
            select id, attempt, lease_owner, (result->>'total_steps')::int total from jobs
             where status = 'running' and desired = 'run' order by id
            """
        )
        found = []
        for row in rows:
            sight = self.witness.newest.get((row["id"], row["attempt"]))
            if sight and sight.what == "step" and sight.step <= LATEST_SHARE * row["total"]:
                found.append(Training(row["id"], row["attempt"], _pid(row["lease_owner"]), sight.pid))
        return [training for training in found if not is_gone(training.trainer)]

    def held(self, *statuses: str) -> Held:
        """A job in one of these statuses that a worker holds, once there is one."""
        query = "select id, attempt, lease_owner from jobs where status = any(%(statuses)s) and lease_owner is not null"
        return self._any(
            lambda: self._held(query, statuses=list(statuses)), f"a job held while {' or '.join(statuses)}"
        )

    def _held(self, query: str, **params: object) -> list[Held]:
        rows = self.tables.rows(query, **params)
        return [Held(row["id"], row["attempt"], _pid(row["lease_owner"])) for row in rows]

    def all_held(self) -> list[Held]:
        """Every job that a worker holds at this moment."""
        return self._held("select id, attempt, lease_owner from jobs where lease_owner is not null")

    def let_go(self, held: Held) -> bool:
        """Whether that attempt has the job no more."""
        return not self.tables.rows(
            "select 1 from jobs where id = %(job)s and attempt = %(attempt)s and lease_owner is not null", **vars(held)
        )

    def lapses(self, held: Held) -> datetime | None:
        """When the lease lapses, if the attempt still has it."""
        row = self.tables.row(
            "select lease_until from jobs where id = %(job)s and attempt = %(attempt)s and lease_owner is not null",
            **vars(held),
        )
        return None if row is None else row["lease_until"]

    def succeeded_by(self, held: Held) -> bool:
        """Whether a later attempt takes steps, or none has to."""
        self.witness.look()
        row = self.tables.row("select status, attempt from jobs where id = %(job)s", **vars(held))
        assert row is not None
        sight = self.witness.newest.get((held.job, row["attempt"]))
        stepping = row["attempt"] > held.attempt and sight is not None and sight.what != "start"
        return stepping or row["status"] not in ("queued", "running")

    def messages(self) -> int:
        """Messages that wait in Redis; none while it is down."""
        with suppress(RedisError):
            return sum(self.scene.broker.llen(queue) for queue in QUEUES)
        return 0

    def woken(self) -> list[str]:
        """Task ids of the messages that wait, as far as Postgres knows."""
        return [row["task_id"] for row in self.tables.rows("select task_id from jobs where woken_at is not null")]

    def served(self, job: str) -> bool:
        """Whether a worker has taken up the job."""
        return bool(self.tables.rows("select 1 from jobs where id = %(job)s and attempt > 0", job=job))


def gone(pid: int, *, seconds: float) -> float:
    """Wait until the process has ended; the monotonic time.

    Raises Stuck when it lives on for so many seconds.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return time.monotonic()
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            raise Stuck(f"process {pid} lives on")
        return time.monotonic()
    finally:
        os.close(descriptor)


def _pid(lease_owner: str) -> int:
    return int(lease_owner.rsplit(":", 2)[1])
