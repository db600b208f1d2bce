"""Random walks over the statements of the store: what must hold after every step, whoever made it and in what order.

An example is one database transaction, rolled back at its end: rivals and commits are the hammer's part.
HYPOTHESIS_EXAMPLES is their number, HYPOTHESIS_NO_SHRINK leaves a failing walk as it was found.
"""

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, initialize, multiple, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_walks
from psycopg.rows import dict_row

from app.core.job import Job, NewEvent
from app.core.states import TASKS, Desired, Outcome, Status
from app.store import checkpoints, events, files, jobs, leases, models, windows
from app.store.db import Connection, Row
from tests.store.conftest import PROJECT, resume_point
from tests.store.world import (
    FORGET_SECONDS,
    LEASE_SECONDS,
    QUEUE,
    UNFINISHED_AT_MOST,
    WINDOW,
    World,
    finish_and_publish,
)

JOBS = Bundle("jobs")
HOLDERS = Bundle("holders")
PAUSABLE = (Status.QUEUED, Status.RUNNING, Status.PAUSED)
PROFILE = profile(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=[phase for phase in Phase if phase is not Phase.shrink or "HYPOTHESIS_NO_SHRINK" not in os.environ],
    suppress_health_check=[HealthCheck.too_slow],
)


class Walk(World):
    """Owners, workers and the clock; holders stay remembered when they hold nothing any more."""

    @initialize(target=JOBS)
    def begin(self) -> MultipleResults[str]:
        return multiple(*(self.inserted(turns) for turns in range(UNFINISHED_AT_MOST)))

    @precondition(lambda self: sum(not one.ended for one in self.seen.values()) < UNFINISHED_AT_MOST)
    @rule(target=JOBS, turns=st.integers(0, 2))
    def insert(self, turns: int) -> str:
        return self.inserted(turns)

    @rule(job_id=JOBS)
    def repeat_create(self, job_id: str) -> None:
        idem_key = self.seen[job_id].job["idem_key"]
        found = jobs.with_idempotency_key(self.conn, PROJECT, idem_key)
        assert found is not None
        assert found[0].id == job_id
        with pytest.raises(psycopg.errors.UniqueViolation), self.conn.transaction():
            self.create(idem_key)

    @rule(status=st.sampled_from(list(TASKS)))
    def dispatch(self, status: Status) -> None:
        woken = windows.dispatch(self.conn, status, QUEUE, ahead=WINDOW)
        assert not {job.id for job in woken} & set(self.held), "a held job was offered to the broker"

    @rule(
        status=st.sampled_from(list(TASKS)), age=st.sampled_from([0, 11, 61]), in_broker=st.sampled_from([None, 0, 1])
    )
    def forget(self, status: Status, age: int, in_broker: int | None) -> None:
        """As if every message were `age` seconds old, and the broker showed `in_broker` of them."""
        woken = self.conn.execute(
            "update jobs set woken_at = clock_timestamp() - make_interval(secs => %s) "
            "where status = %s and queue = %s and woken_at is not null",
            (age, status, QUEUE),
        ).rowcount
        forgotten = windows.forget(self.conn, status, QUEUE, seconds=FORGET_SECONDS, in_broker=in_broker)
        lost = 0 if in_broker is None else max(0, woken - in_broker)
        assert forgotten == {0: 0, 11: lost, 61: woken}[age]

    @rule(target=HOLDERS, job_id=JOBS)
    def claim(self, job_id: str) -> MultipleResults[Job]:
        seen = self.seen[job_id]
        willing = seen.due and seen.job["status"] in TASKS and seen.job["desired"] == Desired.RUN
        won = [held for ready in TASKS if (held := self.claimed(job_id, ready))]
        assert len(won) == (willing and job_id not in self.held)
        for held in won:
            assert held.attempt == seen.job["attempt"] + 1
            self.held[job_id] = held.attempt
        return multiple(*won)

    @rule(holder=HOLDERS)
    def renew(self, holder: Job) -> None:
        desired = self.fenced(holder, leases.renew, lease_seconds=LEASE_SECONDS, progress={"step": 1})
        if desired is not None:
            self.lapsed.discard(holder.id)
            assert (desired is Desired.CANCEL) == (holder.id in self.cancelled)

    @rule(holder=HOLDERS, seq=st.integers(0, 9), once=st.sampled_from([None, "step:1"]))
    def append(self, holder: Job, seq: int, once: str | None) -> None:
        self.fenced(holder, events.append, [NewEvent("as a worker says", once=once)], seq=seq)

    @rule(holder=HOLDERS, step=st.integers(1, 3))
    def record(self, holder: Job, step: int) -> None:
        if self.fenced(holder, checkpoints.record, resume_point(holder, step)):
            self.losses[holder.id] = 0

    @rule(holder=HOLDERS, outcome=st.sampled_from([Outcome.DONE, *Outcome]))
    def finish(self, holder: Job, outcome: Outcome) -> None:
        ended = self.fenced(holder, finish_and_publish, outcome)
        if ended is not None:
            self.released(holder.id)
            assert (ended.status is Status.CANCELLED) == (holder.id in self.cancelled)
            if outcome is Outcome.DONE:
                self.losses[holder.id] = 0

    @rule(holder=HOLDERS)
    def surrender(self, holder: Job) -> None:
        leases.surrender(self.conn, holder)
        if self.held.get(holder.id) == holder.attempt:
            self.lapsed.add(holder.id)
        else:
            self.nothing_was_written(holder.id)

    @rule(job_id=JOBS)
    def lapse(self, job_id: str) -> None:
        lapsed = self.conn.execute(
            "update jobs set lease_until = clock_timestamp() - interval '1 s' "
            "where id = %s and lease_owner is not null returning id",
            (job_id,),
        )
        self.lapsed |= {row["id"] for row in lapsed}

    @rule(retry_seconds=st.sampled_from([0, 0, 0, 3600]))
    def take_back(self, retry_seconds: float) -> None:
        taken = leases.take_back(self.conn, retry_seconds=retry_seconds)
        assert {job.id for job in taken} == self.lapsed
        for job in taken:
            self.released(job.id)
            self.losses[job.id] += 1
            too_often = self.losses[job.id] > leases.LOSSES_ALLOWED and job.id not in self.cancelled
            assert (job.status is Status.FAILED) == too_often

    @rule(job_id=JOBS)
    def lose(self, job_id: str) -> None:
        self.lapse(job_id)
        self.take_back(retry_seconds=0)

    @rule()
    def wait(self) -> None:
        self.conn.execute("update jobs set not_before = clock_timestamp() where finished_at is null")

    @rule(job_id=JOBS, request=st.sampled_from([jobs.request_pause, jobs.request_resume]))
    def pause_or_resume(self, job_id: str, request) -> None:
        found = request(self.conn, PROJECT, job_id)
        able = self.seen[job_id].job["status"] in PAUSABLE and job_id not in self.cancelled
        assert (found is not None) == able

    @rule(job_id=JOBS)
    def cancel(self, job_id: str) -> None:
        accepted = jobs.request_cancel(self.conn, PROJECT, job_id)
        assert (accepted is None) == self.seen[job_id].ended
        if accepted:
            self.cancelled.add(job_id)

    @rule(job_id=JOBS)
    def delete_file(self, job_id: str) -> None:
        file_id = self.seen[job_id].job["spec"]["training_file"]
        if file_id not in self.deleted_files:
            files.delete(self.conn, PROJECT, file_id)
            self.deleted_files.add(file_id)
        assert files.find(self.conn, PROJECT, file_id) is None
        assert files.of_job(self.conn, file_id) is not None, "an accepted job keeps its file"

    @rule(job_id=JOBS)
    def delete_model(self, job_id: str) -> None:
        for model in self.seen[job_id].models:
            if model["deleted_at"] is None:
                models.delete(self.conn, PROJECT, model["name"])
            assert models.find(self.conn, PROJECT, model["name"]) is None

    @rule()
    def purge(self) -> None:
        for file in files.purgeable(self.conn):
            assert file.id in self.deleted_files
            files.purged(self.conn, file.id)
        for model in models.purgeable(self.conn):
            models.purged(self.conn, model.name)
        for point in checkpoints.drop_ended(self.conn):
            assert self.seen[point.job_id].ended, "a resume point of an unfinished job was dropped"


@pytest.fixture
def conn(key_id: str, database_url: str) -> Iterator[Connection[Row]]:
    with Connection[Row].connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        yield conn
        conn.rollback()


def test_no_order_of_steps_breaks_an_invariant(conn):
    run_walks(lambda: Walk(conn), settings=PROFILE)
