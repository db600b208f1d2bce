"""One guard, one test: each fails when the clause that it names is taken out of its statement."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

import psycopg
import pytest

from app.core import names
from app.core.job import Job, NewEvent
from app.core.states import Desired, Outcome, Status
from app.store import checkpoints, events, jobs, leases
from app.store.db import Connection, Row, transaction
from app.store.leases import LeaseLost
from tests.services import eventually
from tests.store import laws
from tests.store.conftest import PROJECT, claimed, finished, now, queued, resume_point, running

T = TypeVar("T")
FENCED: dict[str, Callable[[Connection[Row], Job], object]] = {
    "renew": lambda conn, job: leases.renew(conn, job, lease_seconds=60, progress={"step": 9}),
    "freeze_environment": lambda conn, job: leases.freeze_environment(conn, job, {"threads": 9}),
    "finish": lambda conn, job: leases.finish(conn, job, Outcome.DONE),
    "surrender": leases.surrender,
    "append": lambda conn, job: events.append(conn, job, [NewEvent("late")], seq=9),
    "record": lambda conn, job: checkpoints.record(conn, job, resume_point(job, 9)),
    "drop_beyond": lambda conn, job: checkpoints.drop_beyond(conn, job, 0),
}


def kept(job: Job) -> laws.Kept:
    with transaction() as conn:
        return laws.kept(conn, [job.id])[job.id]


def take_back(conn: Connection[Row]) -> list[Job]:
    return leases.take_back(conn, retry_seconds=0)


def taken_back() -> list[Job]:
    with transaction() as conn:
        return take_back(conn)


def lost(job: Job) -> Job:
    """A holder whose queued job was taken back, after it had published a resume point."""
    holder = claimed(job, lease_seconds=-1)
    with transaction() as conn:
        checkpoints.record(conn, holder, resume_point(holder, 5))
    taken_back()
    return holder


def assert_it_writes_nothing(late: Job, write: str) -> None:
    before = kept(late)
    with suppress(LeaseLost), transaction() as conn:
        FENCED[write](conn, late)
    assert kept(late) == before


@pytest.mark.parametrize("write", FENCED)
def test_the_attempt_in_the_fence_stops_a_late_writer_whose_owner_claimed_again(new_job, write):
    late = lost(queued(new_job))
    with transaction() as conn:
        again = leases.claim(conn, late.id, ready=Status.QUEUED, owner=str(late.lease_owner), lease_seconds=60)
    assert again is not None
    assert_it_writes_nothing(late, write)


@pytest.mark.parametrize("write", FENCED)
def test_the_owner_in_the_fence_stops_a_late_writer_whose_attempt_is_still_the_last(new_job, write):
    late = lost(queued(new_job))
    assert now(late).attempt == late.attempt
    assert_it_writes_nothing(late, write)


def test_a_resume_never_erases_a_cancel(new_job):
    held = running(new_job)
    with transaction() as conn:
        jobs.request_cancel(conn, PROJECT, held.id)
        assert jobs.request_resume(conn, PROJECT, held.id) is None
    assert now(held).desired is Desired.CANCEL


@pytest.mark.parametrize("outcome", [Outcome.STOPPED, Outcome.FAILED])
def test_a_turn_without_progress_forgives_no_losses(new_job, outcome):
    lossy = lost(queued(new_job))
    assert finished(claimed(now(lossy)), outcome).crashes == 1


def test_a_claim_forgives_no_losses(new_job):
    assert claimed(now(lost(queued(new_job)))).crashes == 1


def test_a_stage_that_was_done_forgives_the_losses_before_it(new_job):
    assert finished(claimed(now(lost(queued(new_job)))), Outcome.DONE).crashes == 0


def test_one_idempotency_key_makes_one_job(key_id):
    def create() -> None:
        with transaction() as conn:
            jobs.insert(
                conn,
                names.job_id(),
                project_id=PROJECT,
                key_id=key_id,
                queue="train",
                spec={"training_file": "file-a"},
                metadata=None,
                idem_key="one",
                idem_hash="hash",
            )

    create()
    with pytest.raises(psycopg.errors.UniqueViolation):
        create()


def both(first: Callable[[Connection[Row]], object], second: Callable[[Connection[Row]], T]) -> T:
    """What `second` returns when it begins before `first` has committed; raises what it raises."""
    pids: SimpleQueue[int] = SimpleQueue()

    def rival() -> T:
        with transaction() as conn:
            pids.put(conn.info.backend_pid)
            return second(conn)

    with ThreadPoolExecutor(1) as pool:
        with transaction() as conn:
            first(conn)
            begun = pool.submit(rival)
            pid = pids.get(timeout=30)
            eventually(lambda: begun.done() or waits_for_a_lock(pid))
        return begun.result()


def waits_for_a_lock(pid: int) -> bool:
    with transaction() as conn:
        query = "select from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        return conn.execute(query, (pid,)).fetchone() is not None


def test_an_append_shares_the_row_so_that_a_take_back_beside_it_comes_before_or_after(new_job):
    held = running(new_job, lease_seconds=-1)
    with pytest.raises(LeaseLost):
        both(take_back, lambda conn: FENCED["append"](conn, held))
    assert "late" not in [event["message"] for event in kept(held).events]


def test_a_take_back_rechecks_a_lease_that_is_renewed_beside_it(new_job):
    held = running(new_job, lease_seconds=-1)
    assert both(lambda conn: FENCED["renew"](conn, held), take_back) == []
    assert now(held).lease_owner == held.lease_owner


def test_two_take_backs_at_once_count_one_loss(new_job):
    held = running(new_job, lease_seconds=-1)
    assert both(take_back, take_back) == []
    assert now(held).crashes == 1
