"""Rivals on the same rows at the same moment: one of them wins, and the rows are whole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest

from app.core.job import Job
from app.core.states import Outcome, Status
from app.store import leases, windows
from app.store.db import Connection, Row, transaction
from app.store.leases import LeaseLost
from tests.store.conftest import finalizing, made, now, queued, running

T = TypeVar("T")
RIVALS = 8
REPEATS = 20
WINDOW = 3


def at_once(*statements: Callable[[Connection[Row]], T]) -> list[T | None]:
    """What each statement returned, all begun together in transactions of their own; None where the lease was lost."""
    barrier = Barrier(len(statements))

    def run(statement: Callable[[Connection[Row]], T]) -> T | None:
        try:
            with transaction() as conn:
                barrier.wait(timeout=30)
                return statement(conn)
        except LeaseLost:
            return None

    with ThreadPoolExecutor(len(statements)) as pool:
        return list(pool.map(run, statements))


@pytest.mark.parametrize("begun", [lambda job: job, queued, finalizing])
def test_one_of_many_rivals_claims_a_job(key_id, begun):
    for _ in range(REPEATS):
        job = begun(made(key_id))

        def claim(owner: str, job: Job = job) -> Callable[[Connection[Row]], Job | None]:
            return lambda conn: leases.claim(conn, job.id, ready=job.status, owner=owner, lease_seconds=60)

        won = [held for held in at_once(*(claim(f"w{number}") for number in range(RIVALS))) if held]
        assert [now(job).lease_owner] == [held.lease_owner for held in won]
        assert now(job).attempt == job.attempt + 1


def test_rivals_that_each_see_another_job_due_never_exceed_the_window(key_id):
    waiting = [made(key_id) for _ in range(RIVALS)]

    def dispatch(job: Job) -> Callable[[Connection[Row]], list[Job]]:
        def see_it_due_and_dispatch(conn: Connection[Row]) -> list[Job]:
            conn.execute("update jobs set not_before = clock_timestamp() where id = %s", (job.id,))
            return windows.dispatch(conn, job.status, job.queue, ahead=WINDOW)

        return see_it_due_and_dispatch

    for _ in range(REPEATS):
        with transaction() as conn:
            conn.execute("update jobs set woken_at = null, not_before = clock_timestamp() + interval '1 hour'")
        sent = {job.id: job.task_id for batch in at_once(*map(dispatch, waiting)) for job in batch or []}
        with transaction() as conn:
            woken = conn.execute("select id, task_id from jobs where woken_at is not null").fetchall()
        assert len(woken) == WINDOW
        assert {row["id"] for row in woken} <= set(sent)


def test_a_take_back_and_a_finish_have_one_winner(key_id):
    for _ in range(REPEATS):
        job = running(made(key_id), lease_seconds=-1)
        ended, taken = at_once(
            lambda conn, job=job: leases.finish(conn, job, Outcome.DONE, result={"total_steps": 1}),
            lambda conn: leases.take_back(conn, retry_seconds=0),
        )
        assert bool(ended) != bool(taken)
        left = now(job)
        assert left.lease_owner is None
        expected = (Status.FINALIZING, 0, {"total_steps": 1}) if ended else (Status.QUEUED, 1, {})
        assert (left.status, left.crashes, left.result) == expected
