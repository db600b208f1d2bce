"""Random walks over the statements of the store: what must hold after every step, whoever made it and in what order."""

import os
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.core import names
from app.core.job import Checkpoint, Job, NewEvent
from app.core.states import MOVES, TASKS, TERMINAL, Desired, Outcome, Status
from app.store import checkpoints, events, jobs, keys, leases, windows
from app.store.db import Connection, Row, transaction
from app.store.leases import LeaseLost
from tests.store.conftest import PROJECT, finalizing, made, now, queued

T = TypeVar("T")
WINDOW = 2
LEASE_SECONDS = 3600
OWNER = "one worker, so that the attempt alone tells a zombie"
TABLES = {"jobs": "id", "job_events": "job_id", "checkpoints": "job_id"}
BEGINNINGS = [lambda job: job, queued, finalizing]
A_JOB = st.runner().flatmap(lambda walk: st.sampled_from(walk.jobs))
A_HOLDER = st.runner().flatmap(lambda walk: st.sampled_from(walk.holders))
PROFILE = profile(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "60")),
    stateful_step_count=30,
    deadline=None,
    database=None,
)


def content(job: Job) -> dict[str, list[Row]]:
    """Every row that the store keeps of a job."""
    with transaction() as conn:
        return {
            table: conn.execute(f"select * from {table} where {column} = %s order by id", (job.id,)).fetchall()
            for table, column in TABLES.items()
        }


class Walk(RuleBasedStateMachine):
    """Owners, workers and the clock on a few jobs; holders stay remembered when they hold nothing any more."""

    def __init__(self) -> None:
        super().__init__()
        with transaction() as conn:
            conn.execute("truncate job_events, checkpoints, models, jobs, files")
            self.key_id = keys.adopt(conn, names.api_key()).id
        self.jobs: list[Job] = []
        self.holders: list[Job] = []
        self.held: dict[str, int] = {}
        self.lapsed: set[str] = set()
        self.cancelled: set[str] = set()
        for begun in BEGINNINGS:
            self.insert(begun)
            self.claim(self.jobs[-1])

    def holds(self, holder: Job) -> bool:
        return self.held.get(holder.id) == holder.attempt

    def write(self, holder: Job, statement: Callable[[Connection[Row]], T]) -> T | None:
        """What a holder's statement returned; a zombie's must be refused, and leave no trace."""
        before = content(holder)
        try:
            with transaction() as conn:
                written = statement(conn)
        except LeaseLost:
            assert not self.holds(holder)
            assert content(holder) == before
            return None
        assert self.holds(holder), "a zombie wrote"
        return written

    @precondition(lambda self: sum(not now(job).ended for job in self.jobs) < len(BEGINNINGS))
    @rule(begun=st.sampled_from(BEGINNINGS))
    def insert(self, begun: Callable[[Job], Job]) -> None:
        self.jobs.append(begun(made(self.key_id)))

    @rule(status=st.sampled_from(list(TASKS)))
    def dispatch(self, status: Status) -> None:
        with transaction() as conn:
            woken = windows.dispatch(conn, status, "train", ahead=WINDOW)
        assert not {job.id for job in woken} & set(self.held)

    @rule(job=A_JOB)
    def claim(self, job: Job) -> None:
        seen = now(job)
        free = job.id not in self.held and seen.status in TASKS and seen.desired is Desired.RUN
        won = []
        for ready in TASKS:
            with transaction() as conn:
                found = leases.claim(conn, job.id, ready=ready, owner=OWNER, lease_seconds=LEASE_SECONDS)
            won += [found] if found else []
        assert len(won) == free
        for holder in won:
            assert holder.attempt == seen.attempt + 1
            self.held[job.id] = holder.attempt
            self.holders.append(holder)

    @rule(holder=A_HOLDER)
    def renew(self, holder: Job) -> None:
        renewed = self.write(
            holder, lambda conn: leases.renew(conn, holder, lease_seconds=LEASE_SECONDS, progress={"step": 1})
        )
        if renewed is not None:
            self.lapsed.discard(holder.id)
            assert (renewed is Desired.CANCEL) == (holder.id in self.cancelled)

    @rule(holder=A_HOLDER, seq=st.integers(0, 9))
    def append(self, holder: Job, seq: int) -> None:
        self.write(holder, lambda conn: events.append(conn, holder, [NewEvent("as a worker says")], seq=seq))

    @rule(holder=A_HOLDER, step=st.integers(1, 3))
    def record(self, holder: Job, step: int) -> None:
        point = Checkpoint(
            id=names.checkpoint_id(),
            job_id=holder.id,
            attempt=holder.attempt,
            step=step,
            kind="resume",
            name=f"at-{step}",
            path=f"a{holder.attempt}/{step}",
            best=False,
            metrics={},
            created_at=holder.created_at,
        )
        self.write(holder, lambda conn: checkpoints.record(conn, holder, point))

    @rule(holder=A_HOLDER, outcome=st.sampled_from([Outcome.DONE, *Outcome]))
    def finish(self, holder: Job, outcome: Outcome) -> None:
        result = {"fine_tuned_model": "ft"} if holder.status is Status.FINALIZING else {}
        ended = self.write(holder, lambda conn: leases.finish(conn, holder, outcome, result=result, error={}))
        if ended is not None:
            del self.held[holder.id]
            self.lapsed.discard(holder.id)
            assert (ended.status is Status.CANCELLED) == (holder.id in self.cancelled)

    @rule(holder=A_HOLDER)
    def surrender(self, holder: Job) -> None:
        before = content(holder)
        with transaction() as conn:
            leases.surrender(conn, holder)
        if self.holds(holder):
            self.lapsed.add(holder.id)
        else:
            assert content(holder) == before

    @rule(job=A_JOB)
    def lapse(self, job: Job) -> None:
        with transaction() as conn:
            conn.execute(
                "update jobs set lease_until = clock_timestamp() - interval '1 s' "
                "where id = %s and lease_owner is not null",
                (job.id,),
            )
        if job.id in self.held:
            self.lapsed.add(job.id)

    @rule()
    def take_back(self) -> None:
        with transaction() as conn:
            taken = {job.id for job in leases.take_back(conn, retry_seconds=0)}
        assert taken == self.lapsed
        self.lapsed.clear()
        for job_id in taken:
            del self.held[job_id]

    @rule(job=A_JOB)
    def lose(self, job: Job) -> None:
        self.lapse(job)
        self.take_back()

    @rule(job=A_JOB)
    def pause(self, job: Job) -> None:
        with transaction() as conn:
            jobs.request_pause(conn, PROJECT, job.id)

    @rule(job=A_JOB)
    def resume(self, job: Job) -> None:
        with transaction() as conn:
            jobs.request_resume(conn, PROJECT, job.id)

    @rule(job=A_JOB)
    def cancel(self, job: Job) -> None:
        ended = now(job).ended
        with transaction() as conn:
            accepted = jobs.request_cancel(conn, PROJECT, job.id)
        assert (accepted is None) == ended
        if accepted:
            self.cancelled.add(job.id)

    @invariant()
    def every_job_is_whole(self) -> None:
        for job in self.jobs:
            kept = content(job)
            self.its_lease_fits_its_status(kept["jobs"][0])
            self.its_log_is_a_path_of_legal_moves(kept["jobs"][0], kept["job_events"])
            for table in ("job_events", "checkpoints"):
                assert all(row["attempt"] <= kept["jobs"][0]["attempt"] for row in kept[table])

    def its_lease_fits_its_status(self, row: Row) -> None:
        leased = row["lease_owner"] is not None
        assert leased == (row["id"] in self.held)
        assert not leased or row["attempt"] == self.held[row["id"]]
        assert not leased or row["status"] not in {*TERMINAL, Status.PAUSED}
        assert leased or row["status"] != Status.RUNNING
        assert row["desired"] == Desired.RUN or leased or row["status"] in (Status.PAUSED, Status.CANCELLED)
        if row["id"] in self.cancelled:
            assert row["desired"] == Desired.CANCEL
            assert leased or row["status"] == Status.CANCELLED
            assert "fine_tuned_model" not in row["result"]

    def its_log_is_a_path_of_legal_moves(self, row: Row, log: list[Row]) -> None:
        attempts = [event["attempt"] for event in log]
        assert attempts == sorted(attempts)
        path = [event["data"] for event in log if "status" in (event["data"] or {})]
        assert path[0] == {"status": Status.VALIDATING_FILES}
        for before, after in pairwise(path):
            assert after["from"] == before["status"]
            assert (after["from"], after["status"]) in MOVES
        assert path[-1]["status"] == row["status"]
        if row["status"] in TERMINAL:
            assert log[-1]["data"] == path[-1]

    @invariant()
    def no_window_is_exceeded(self) -> None:
        with transaction() as conn:
            woken = conn.execute(
                "select count(*) as woken from jobs where woken_at is not null group by status, queue"
            ).fetchall()
        assert all(row["woken"] <= WINDOW for row in woken)


def test_no_order_of_steps_breaks_an_invariant(database):
    run_state_machine_as_test(Walk, settings=PROFILE)
