"""How long a caller or a job waits: a claim, a cancel, a lost worker, a deploy, a flushed Redis.

One embedded stack with the settings as shipped and the demo's model. A poll of the database adds up to 10 ms.
"""

import os
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import closing, suppress

from openai.types.fine_tuning import FineTuningJob
from redis import Redis

from app.config import Settings
from app.embedded.stack import Stack, as_shipped
from tests.bench.customer import Customer, await_that
from tests.bench.tables import Row, Say, at_most
from tests.chaos.lookout import gone
from tests.chaos.tables import Tables
from tests.services import scratch_directory

ROUNDS = 20
DEPLOYS = 3
FLUSHES = 2
WAITING = 3
LOOK_SECONDS = 0.01
PROCESSES = ("web", "worker", "trainer", "clock")
STOPPED_AT = "select from checkpoints c where c.job_id = jobs.id and c.kind = 'stop'"
JOB = {"n_epochs": 20, "batch_size": 16, "training_type": "lora"}

CLAIM_GOAL, CANCEL_GOAL, DEPLOY_GOAL, FLUSH_GOAL = 1.0, 1.5, 25.0, 75.0
LOST_GOAL = Settings.lease_seconds + 10.0


def run(say: Say = print) -> list[Row]:
    """Measure everything, saying each figure as it comes, and return the rows of the table.

    Raises StackError when a job does not go as it must.
    """
    with (
        scratch_directory() as scratch,
        Stack(scratch / "stack", settings=as_shipped()) as stack,
        closing(Tables(stack.environment["DATABASE_URL"])) as tables,
    ):
        bench = Bench(Customer(stack), tables, say)
        claims, cancels = bench.rounds()
        return [
            *_spread("create to claimed, free worker", claims, CLAIM_GOAL),
            *_spread("cancel of a running job to its process gone", cancels, CANCEL_GOAL),
            at_most("worker killed to job queued again", bench.killed(), LOST_GOAL, unit="s"),
            *bench.frozen(),
            at_most(f"deploy to job queued again, longest of {DEPLOYS}", bench.deployed(), DEPLOY_GOAL, unit="s"),
            at_most(
                f"Redis flushed to messages sent again, longest of {FLUSHES}", bench.flushed(), FLUSH_GOAL, unit="s"
            ),
        ]


def _spread(what: str, seconds: Sequence[float], goal: float) -> list[Row]:
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return [
        Row(f"{what}, p50 of {len(seconds)}", f"{statistics.median(seconds):.2f} s"),
        at_most(f"{what}, p95", p95, goal, unit="s"),
    ]


class Bench:
    """The measurements on a running stack."""

    def __init__(self, customer: Customer, tables: Tables, say: Say) -> None:
        self._customer, self._tables, self._say = customer, tables, say

    def rounds(self) -> tuple[list[float], list[float]]:
        """Seconds from create to claimed, and from cancel to the trainer's process gone."""
        claims, cancels = [], []
        for _ in range(ROUNDS):
            began = time.monotonic()
            job = self._customer.create(JOB)
            self._await(job, "attempt > 0")
            claims.append(time.monotonic() - began)
            self._customer.until_share(job, 0)
            cancels.append(self._cancelled(job))
            self._say(f"  claimed after {claims[-1]:.2f} s, process gone {cancels[-1]:.2f} s after its cancel")
        return claims, cancels

    def _cancelled(self, job: FineTuningJob) -> float:
        trainer = self._customer.trainer().pid
        began = time.monotonic()
        self._customer.cancel(job)
        seconds = gone(trainer, seconds=LOST_GOAL) - began
        self._await(job, "status = 'cancelled'")
        return seconds

    def killed(self) -> float:
        """Supervisor, its Celery parent and the trainer at once, so that nobody gives the job back."""
        job = self._training()
        at = self._signal(signal.SIGKILL, "trainer")
        self._await(job, "status = 'queued'")
        seconds = self._seconds(at, "worker killed, job queued again")
        self._withdraw(job)
        return seconds

    def frozen(self) -> list[Row]:
        """A supervisor that is stopped: its trainer ends before the lease does."""
        job, trainer = self._training(), self._customer.trainer()
        supervisor = trainer.parent()
        assert supervisor is not None
        supervisor.suspend()
        at = time.monotonic()
        try:
            gone(trainer.pid, seconds=LOST_GOAL)
            left = self._lease_left(job)
            self._say(f"  supervisor frozen, its trainer gone {left:.1f} s before the lease")
            self._await(job, "status = 'queued'")
            seconds = self._seconds(at, "supervisor frozen, job queued again")
            self._withdraw(job)
        finally:
            supervisor.resume()
        what = "supervisor frozen: lease left when its trainer was gone"
        return [
            Row(what, f"{left:.2f} s", "more than 0", left > 0, binding=True),
            at_most("supervisor frozen to job queued again", seconds, LOST_GOAL, unit="s"),
        ]

    def deployed(self) -> float:
        """SIGTERM to every process at once, trainers included; the longest of several."""
        return max(self._deployed() for _ in range(DEPLOYS))

    def _deployed(self) -> float:
        job = self._training()
        stopped = {name: self._customer.stack.pids(name)[0] for name in PROCESSES}
        at = self._signal(signal.SIGTERM, *PROCESSES)
        self._await(job, f"(status = 'queued' or attempt > 2) and exists ({STOPPED_AT})")
        seconds = self._seconds(at, "deploy, job queued again")
        await_that(lambda: all(self._customer.stack.pids(name)[:1] not in ([], [pid]) for name, pid in stopped.items()))
        self._withdraw(job)
        return seconds

    def flushed(self) -> float:
        """FLUSHALL while messages wait in Redis, and again as soon as they are back; the longest of several."""
        jobs = [self._training(), *(self._customer.create(JOB) for _ in range(WAITING))]
        with closing(Redis.from_url(self._customer.stack.environment["REDIS_URL"])) as broker:
            self._await_messages(broker)
            seconds = max(self._flushed(broker) for _ in range(FLUSHES))
        for job in reversed(jobs):
            self._withdraw(job)
        return seconds

    def _flushed(self, broker: Redis) -> float:
        at = time.monotonic()
        broker.flushall()
        self._await_messages(broker)
        return self._seconds(at, f"Redis flushed, {WAITING} messages sent again")

    def _await_messages(self, broker: Redis) -> None:
        queue = f"{Settings.redis_prefix}{Settings.train_queue}"
        await_that(lambda: broker.llen(queue) == WAITING, every=LOOK_SECONDS)

    def _training(self) -> FineTuningJob:
        """A job that takes steps."""
        job = self._customer.create(JOB)
        self._customer.until_share(job, 0)
        return job

    def _signal(self, number: signal.Signals, *names: str) -> float:
        """Signal these processes and all they run; the monotonic time just before."""
        pids = [pid for name in names for pid in self._customer.stack.pids(name)]
        at = time.monotonic()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return at

    def _seconds(self, at: float, what: str) -> float:
        """Seconds from then until now, which are said."""
        seconds = time.monotonic() - at
        self._say(f"  {what} after {seconds:.1f} s")
        return seconds

    def _withdraw(self, job: FineTuningJob) -> None:
        self._customer.cancel(job)
        self._await(job, "status = 'cancelled'")

    def _await(self, job: FineTuningJob, condition: str) -> None:
        query = f"select 1 from jobs where id = %(id)s and ({condition})"
        await_that(lambda: self._tables.rows(query, id=job.id), every=LOOK_SECONDS)

    def _lease_left(self, job: FineTuningJob) -> float:
        """Seconds until the lease lapses; 0 when it was taken back."""
        query = "select extract(epoch from lease_until - clock_timestamp()) as seconds from jobs where id = %(id)s"
        row = self._tables.row(query, id=job.id)
        assert row is not None
        return float(row["seconds"] or 0)
