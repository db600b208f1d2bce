"""Threads that hammer a few dozen jobs: workers that hold leases of milliseconds, stall, die and come back, clocks
that take back and wake, and an owner who pauses, resumes and cancels. All choices come from one seed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from queue import Empty, Queue
from random import Random
from typing import TypeVar

from app.core.job import Job, NewEvent
from app.core.states import Desired, Outcome, Status
from app.store import checkpoints, events, jobs, leases, windows
from app.store.db import Connection, Row, transaction
from app.store.leases import LeaseLost
from tests.store.conftest import PROJECT, resume_point
from tests.store.witness import Witness, Written, moment, turn_of
from tests.store.world import finish_and_publish

T = TypeVar("T")
WORKERS, CLOCKS = 6, 2
WINDOW = 4
LEASE_SECONDS = 0.08
RETRY_SECONDS = 0.01
FORGET_SECONDS = 0.3
PAUSE_SECONDS = 0.01
OWNER = "all workers under one name, so that the attempt alone tells a zombie"
TURNS_PER_JOB = 100
ROUNDS_PER_JOB = 500
WISHES_PER_JOB = 4
LATE = 99


class Death(Exception):
    """A worker stops here, and tells nobody."""


class Hammer:
    """What the threads share: the jobs, the broker's messages, the witness, and whether all is over."""

    def __init__(self, job_ids: list[str], seed: str) -> None:
        self.job_ids = job_ids
        self.seed = seed
        self.messages: Queue[tuple[Status, str]] = Queue()  # a SimpleQueue's timeout may become for ever on 3.11
        self.witness = Witness()
        self.over = threading.Event()

    def run(self) -> Witness:
        """Hammer until every job has ended. Raises what a thread raised, and AssertionError when there is no end."""
        workers = [Worker(self, number).run for number in range(WORKERS)]
        clocks = [Clock(self, number).run for number in range(CLOCKS)]
        crew = [*workers, *clocks, Owner(self).run]
        with ThreadPoolExecutor(len(crew)) as pool:
            ended = [pool.submit(self.until_over, run) for run in crew]
        for one in ended:
            one.result()
        return self.witness

    def until_over(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException:
            self.over.set()
            raise

    def random(self, name: str) -> Random:
        return Random(f"{self.seed} {name}")


class Worker:
    """Serves jobs badly; its first turn outlives its lease, so that no run is without a zombie."""

    def __init__(self, hammer: Hammer, number: int) -> None:
        self.hammer = hammer
        self.witness = hammer.witness
        self.random = hammer.random(f"worker {number}")
        self.turns = 0

    def run(self) -> None:
        while not self.hammer.over.is_set():
            try:
                status, job_id = self.hammer.messages.get(timeout=PAUSE_SECONDS)
                self.serve(self.claim(status, job_id))
            except (Empty, LeaseLost, Death):
                continue

    def claim(self, status: Status, job_id: str) -> Job:
        """Claim a job. Raises LeaseLost when the message came too late, or twice."""
        with transaction() as conn:
            job = leases.claim(conn, job_id, ready=status, owner=OWNER, lease_seconds=LEASE_SECONDS)
            if job is None:
                raise LeaseLost(job_id)
            _, until = moment(conn, turn_of(job))
        assert until is not None
        self.witness.begun[turn_of(job)] = until - timedelta(seconds=LEASE_SECONDS)
        self.witness.held_until[turn_of(job)] = until
        self.turns += 1
        assert self.turns < TURNS_PER_JOB * len(self.hammer.job_ids), "the jobs come to no end"
        return job

    def serve(self, job: Job) -> None:
        fates: list[Callable[[Worker, Job], None]] = [Worker.outlive]
        if self.turns > 1:
            fates = self.random.choices(list(FATES), list(FATES.values()), k=self.random.randint(1, 4))
        for number, fate in enumerate(fates):
            fate(self, job)
            if self.report(job, number) is not Desired.RUN:
                return self.finish(job, Outcome.STOPPED)
        return self.finish(job, self.random.choices(list(Outcome), [20, 2, 1])[0])

    def write(self, job: Job, kind: str, statement: Callable[[Connection[Row]], T], *, line: str | None = None) -> T:
        """Commit a fenced write, and tell the witness. Raises LeaseLost."""
        try:
            with transaction() as conn:
                answer = statement(conn)
                now, until = moment(conn, turn_of(job))
        except LeaseLost:
            self.witness.refused.append(kind)
            raise
        self.witness.written.append(Written(turn_of(job), now, kind, line))
        if until is not None:
            self.witness.held_until[turn_of(job)] = until
        return answer

    def renew(self, job: Job) -> None:
        self.write(job, "renew", lambda conn: leases.renew(conn, job, lease_seconds=LEASE_SECONDS, progress=None))

    def report(self, job: Job, number: int) -> Desired:
        line = f"attempt {job.attempt} says {number}"
        new = [NewEvent(line)]
        return self.write(job, "append", lambda conn: events.append(conn, job, new, seq=number), line=line)

    def record(self, job: Job) -> None:
        point = resume_point(job, self.random.randint(1, 9))
        self.write(job, "record", lambda conn: checkpoints.record(conn, job, point))

    def finish(self, job: Job, outcome: Outcome) -> None:
        self.write(job, "finish", lambda conn: finish_and_publish(conn, job, outcome))
        self.witness.outcomes[turn_of(job)] = outcome

    def stall(self, job: Job) -> None:
        self.hammer.over.wait(LEASE_SECONDS * self.random.uniform(0.1, 2.5))

    def work(self, job: Job) -> None:
        self.hammer.over.wait(LEASE_SECONDS * self.random.uniform(0, 0.2))
        self.renew(job)

    def die(self, job: Job) -> None:
        raise Death

    def die_before_the_commit(self, job: Job) -> None:
        with transaction() as conn:
            finish_and_publish(conn, job, Outcome.DONE)
            raise Death

    def surrender(self, job: Job) -> None:
        with transaction() as conn:
            leases.surrender(conn, job)
            _, until = moment(conn, turn_of(job))
        if until is not None:
            self.witness.held_until[turn_of(job)] = until
        raise Death

    def outlive(self, job: Job) -> None:
        """Go on although the job was taken back: each of these must be refused."""
        while turn_of(job) not in self.witness.taken_back and not self.hammer.over.wait(PAUSE_SECONDS):
            pass
        late: list[Callable[[], object]] = [
            lambda: self.renew(job),
            lambda: self.report(job, LATE),
            lambda: self.record(job),
            lambda: self.finish(job, Outcome.DONE),
        ]
        self.random.shuffle(late)
        for write in late:
            with suppress(LeaseLost):
                write()
        raise Death


FATES: dict[Callable[[Worker, Job], None], int] = {
    Worker.work: 30,
    Worker.record: 8,
    Worker.stall: 6,
    Worker.die: 1,
    Worker.die_before_the_commit: 1,
    Worker.surrender: 1,
    Worker.outlive: 1,
}
"""What may happen to a worker before it reports next, and how often."""


class Clock:
    """Takes back, forgets and dispatches; one message in ten is lost and one in ten doubled."""

    def __init__(self, hammer: Hammer, number: int) -> None:
        self.hammer = hammer
        self.witness = hammer.witness
        self.random = hammer.random(f"clock {number}")

    def run(self) -> None:
        for _ in range(ROUNDS_PER_JOB * len(self.hammer.job_ids)):
            self.take_back()
            with transaction() as conn:
                waiting = windows.waiting(conn)
            for status, queue in waiting:
                self.wake(status, queue)
            if self.hammer.over.wait(PAUSE_SECONDS):
                return
        raise AssertionError("the jobs come to no end")

    def take_back(self) -> None:
        with transaction() as conn:
            taken = [turn_of(job) for job in leases.take_back(conn, retry_seconds=RETRY_SECONDS)]
            at = {turn: moment(conn, turn)[0] for turn in taken}
        self.witness.taken_back |= at

    def wake(self, status: Status, queue: str) -> None:
        with transaction() as conn:
            windows.forget(conn, status, queue, seconds=FORGET_SECONDS, in_broker=None)
        with transaction() as conn:
            woken = windows.dispatch(conn, status, queue, ahead=WINDOW)
        for job in woken:
            for _ in range(self.random.choices([0, 1, 2], [1, 8, 1])[0]):
                self.hammer.messages.put((status, job.id))


class Owner:
    """Pauses, resumes and cancels, and in the end resumes whatever is paused until every job has ended."""

    def __init__(self, hammer: Hammer) -> None:
        self.hammer = hammer
        self.random = hammer.random("owner")

    def run(self) -> None:
        for _ in range(WISHES_PER_JOB * len(self.hammer.job_ids)):
            job_id = self.random.choice(self.hammer.job_ids)
            self.wish(job_id, self.random.choices(list(WISHES), list(WISHES.values()))[0])
            if self.hammer.over.wait(self.random.uniform(0, PAUSE_SECONDS)):
                return
        while left := self.unfinished():
            for job_id in left:
                self.wish(job_id, jobs.request_resume)
            if self.hammer.over.wait(PAUSE_SECONDS):
                return
        self.hammer.over.set()

    def wish(self, job_id: str, request: Callable[[Connection[Row], str, str], Job | None]) -> None:
        with transaction() as conn:
            accepted = request(conn, PROJECT, job_id)
        if accepted and request is jobs.request_cancel:
            self.hammer.witness.cancelled.add(job_id)

    def unfinished(self) -> list[str]:
        with transaction() as conn:
            return [row["id"] for row in conn.execute("select id from jobs where finished_at is null")]


WISHES = {jobs.request_pause: 6, jobs.request_resume: 6, jobs.request_cancel: 1}
