"""What a walk remembers of its jobs, how it runs a statement, and what must hold after every step of it."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from app.core import names
from app.core.job import Job
from app.core.states import TASKS, Desired, Outcome, Status
from app.store import files, jobs, keys, leases, models, windows
from app.store.db import Connection, Row
from app.store.leases import LeaseLost
from tests.store import laws
from tests.store.conftest import PROJECT, new_file, new_model

T = TypeVar("T")
QUEUE = "train"
WINDOW = 2
UNFINISHED_AT_MOST = 3
FORGET_SECONDS = 60
LEASE_SECONDS = 3600
OWNER = "one worker, so that the attempt alone tells a zombie"


class World(RuleBasedStateMachine):
    """A few jobs: `seen` is what their rows were after the last step, the rest is what they must be."""

    def __init__(self, conn: Connection[Row]) -> None:
        super().__init__()
        conn.rollback()
        conn.execute("begin")
        self.conn = conn
        self.key_id = keys.adopt(conn, names.api_key()).id
        self.seen: dict[str, laws.Kept] = {}
        self.held: dict[str, int] = {}
        self.lapsed: set[str] = set()
        self.cancelled: set[str] = set()
        self.losses: Counter[str] = Counter()
        self.deleted_files: set[str] = set()

    def fenced(self, holder: Job, statement: Callable[..., T], *arguments: object, **options: object) -> T | None:
        """What a holder's statement returned; a zombie's must be refused, and leave no trace."""
        holds = self.held.get(holder.id) == holder.attempt
        try:
            written = statement(self.conn, holder, *arguments, **options)
        except LeaseLost:
            assert not holds, "who holds the lease was refused"
            self.nothing_was_written(holder.id)
            return None
        assert holds, "a zombie wrote"
        return written

    def nothing_was_written(self, job_id: str) -> None:
        assert laws.kept(self.conn, [job_id])[job_id] == self.seen[job_id]

    def claimed(self, job_id: str, ready: Status) -> Job | None:
        return leases.claim(self.conn, job_id, ready=ready, owner=OWNER, lease_seconds=LEASE_SECONDS)

    def released(self, job_id: str) -> None:
        del self.held[job_id]
        self.lapsed.discard(job_id)

    def inserted(self, turns: int) -> str:
        """A new job after so many turns that went well, and its file."""
        file = files.insert(self.conn, new_file())
        job = self.create(file.id)
        for _ in range(turns):
            held = self.claimed(job.id, job.status)
            assert held is not None
            job = leases.finish(self.conn, held, Outcome.DONE)
        self.seen |= laws.kept(self.conn, [job.id])
        return job.id

    def create(self, file_id: str) -> Job:
        """A job made from a file, under the file's id as its Idempotency-Key."""
        return jobs.insert(
            self.conn,
            names.job_id(),
            project_id=PROJECT,
            key_id=self.key_id,
            queue=QUEUE,
            spec={"model": "tiny", "base": "tiny", "training_file": file_id, "validation_file": None},
            metadata=None,
            idem_key=file_id,
            idem_hash=f"body about {file_id}",
        )

    @invariant()
    def every_job_is_whole(self) -> None:
        self.seen = laws.kept(self.conn, list(self.seen))
        woken = Counter[str]()
        for job_id, one in self.seen.items():
            laws.hold_of(one)
            self.it_is_as_remembered(job_id, one)
            woken[one.job["status"]] += one.job["woken_at"] is not None
        assert max(woken.values()) <= WINDOW, "the window is exceeded"

    def it_is_as_remembered(self, job_id: str, one: laws.Kept) -> None:
        assert one.leased == (job_id in self.held)
        assert not one.leased or one.job["attempt"] == self.held[job_id]
        assert one.job["crashes"] == self.losses[job_id]
        if job_id in self.cancelled:
            assert one.job["desired"] == Desired.CANCEL
            assert one.leased or one.job["status"] == Status.CANCELLED

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # else the walk has failed, and that is what must be told
            self.every_job_left_reaches_the_window_and_ends()

    def every_job_left_reaches_the_window_and_ends(self) -> None:
        """Workers that hold something are lost, owners resume; from then on the clock and workers do their duty."""
        self.conn.execute("update jobs set lease_until = '-infinity' where lease_owner is not null")
        self.losses.update(job.id for job in leases.take_back(self.conn, retry_seconds=3600))
        self.held.clear()
        for job_id in self.seen:
            jobs.request_resume(self.conn, PROJECT, job_id)
        self.conn.execute("update jobs set not_before = clock_timestamp() where finished_at is null")
        for _ in range(UNFINISHED_AT_MOST):
            for status in TASKS:
                self.one_round(status)
        self.every_job_is_whole()
        assert all(one.ended for one in self.seen.values()), "a waiting job never reached the window"

    def one_round(self, status: Status) -> None:
        """Forget every message that nobody took, wake, and let willing workers take and end what was woken."""
        self.conn.execute("update jobs set woken_at = '-infinity' where woken_at is not null")
        windows.forget(self.conn, status, QUEUE, seconds=FORGET_SECONDS, in_broker=None)
        for job in windows.dispatch(self.conn, status, QUEUE, ahead=WINDOW):
            held = self.claimed(job.id, status)
            assert held is not None, "a job was woken that cannot be claimed"
            finish_and_publish(self.conn, held, Outcome.DONE)
            self.losses[job.id] = 0


def finish_and_publish(conn: Connection[Row], holder: Job, outcome: Outcome) -> Job:
    """The end of a worker's turn: a model becomes visible with the success of its job."""
    name = names.model_name("tiny", "default", None, holder.id)
    made = {"fine_tuned_model": name} if holder.status is Status.FINALIZING and outcome is Outcome.DONE else None
    ended = leases.finish(conn, holder, outcome, result=made, error={"message": "as a worker says"})
    if ended.status is Status.SUCCEEDED:
        models.insert(conn, new_model(ended, name))
    return ended
