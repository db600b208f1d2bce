"""A running job makes way for more urgent work, and loses nothing by it."""

import pytest

from app.core.job import Job
from app.core.states import Outcome, Status
from app.store import events, jobs, leases, windows
from app.store.db import transaction
from tests.store.conftest import claimed, finished
from tests.store.test_shares import add, offered

__all__ = ["add"]


def wait_for_a_worker(job: Job) -> None:
    """Let the job have been offered, in vain, for long enough to be urgent."""
    offered()
    with transaction() as conn:
        conn.execute("update jobs set woken_at = woken_at - interval '1 minute' where id = %s", (job.id,))


def preempt() -> list[str]:
    with transaction() as conn:
        return windows.preempt(conn)


def test_the_running_job_of_lowest_priority_makes_way_for_an_urgent_one(add):
    low, middle = claimed(add("anna", priority=1)), claimed(add("anna", priority=2))
    wait_for_a_worker(add("anna", priority=9))

    assert preempt() == [low.id]
    assert preempt() == [], "one makes way for one"
    with transaction() as conn:
        assert leases.renew(conn, low, lease_seconds=60, progress=None) == "pause"
        assert leases.renew(conn, middle, lease_seconds=60, progress=None) == "run"


def test_nobody_makes_way_for_another_organization_or_an_equal_priority(add):
    claimed(add("anna", priority=1))
    wait_for_a_worker(add("anna", priority=1))
    wait_for_a_worker(add("bert", priority=9))

    assert preempt() == []


def test_a_job_that_made_way_is_queued_and_says_so(add):
    held = claimed(add("anna"))
    with transaction() as conn:
        assert jobs.request_way(conn, held.id) is not None

    ended = finished(held, Outcome.STOPPED)

    assert (ended.status, ended.yields) == (Status.QUEUED, False)
    with transaction() as conn:
        said = [event.message for event in events.page(conn, held.id, after=None, limit=3)]
    assert said[0] == "Made way for more urgent work, moving job back to queued state"
    assert said[1].startswith("Making way for more urgent work")


@pytest.mark.parametrize("wish", [jobs.request_pause, jobs.request_cancel])
def test_making_way_takes_no_wish_of_the_owner_away(add, wish):
    held = claimed(add("anna"))
    with transaction() as conn:
        jobs.request_way(conn, held.id)
        wish(conn, "anna", held.id)

    ended = finished(held, Outcome.STOPPED)

    assert ended.status in (Status.PAUSED, Status.CANCELLED)


def test_a_job_that_does_not_run_cannot_make_way(add):
    job = add("anna")
    with transaction() as conn:
        assert jobs.request_way(conn, job.id) is None
