"""The window: order, size, forgetting."""

import pytest

from app.core.job import Job
from app.core.states import Status
from app.store import jobs, windows
from app.store.db import transaction
from tests.store.conftest import PROJECT, claimed, made, now, queued


def dispatched(status: Status = Status.VALIDATING_FILES, *, ahead: int = 2, queue: str = "train") -> list[Job]:
    with transaction() as conn:
        return windows.dispatch(conn, status, queue, ahead=ahead)


def forgotten(*, seconds: float = 60, in_broker: int | None = None) -> int:
    with transaction() as conn:
        return windows.forget(conn, Status.VALIDATING_FILES, "train", seconds=seconds, in_broker=in_broker)


def age(job: Job, seconds: float) -> None:
    with transaction() as conn:
        conn.execute(
            "update jobs set woken_at = clock_timestamp() - make_interval(secs => %s) where id = %s", (seconds, job.id)
        )


@pytest.fixture
def five(key_id) -> list[Job]:
    return [made(key_id) for _ in range(5)]


def test_the_oldest_are_woken_first(five):
    assert {job.id for job in dispatched()} == {five[0].id, five[1].id}


def test_the_window_is_never_larger_than_its_size(five):
    assert len(dispatched()) == 2
    assert dispatched() == []


def test_a_claim_makes_room(five):
    first = dispatched()[0]
    claimed(first)
    assert [job.id for job in dispatched()] == [five[2].id]


def test_a_cancelled_job_makes_room(five):
    dispatched()
    with transaction() as conn:
        jobs.request_cancel(conn, PROJECT, five[0].id)
    assert [job.id for job in dispatched()] == [five[2].id]


def test_priority_goes_before_age(five):
    with transaction() as conn:
        conn.execute("update jobs set priority = 5 where id = %s", (five[4].id,))
    assert [job.id for job in dispatched(ahead=1)] == [five[4].id]


def test_a_task_id_is_never_used_again(five):
    first = dispatched(ahead=1)[0]
    age(first, 120)
    forgotten()
    assert dispatched(ahead=1)[0].task_id != first.task_id


def test_queues_do_not_share_a_window(key_id):
    slow, fast = queued(made(key_id, queue="train")), queued(made(key_id, queue="train-gpu"))
    assert [job.id for job in dispatched(Status.QUEUED, queue="train-gpu")] == [fast.id]
    assert [job.id for job in dispatched(Status.QUEUED, queue="train")] == [slow.id]


def test_a_job_that_is_not_due_is_not_woken(five):
    with transaction() as conn:
        conn.execute("update jobs set not_before = clock_timestamp() + interval '1 h' where id = %s", (five[0].id,))
    assert [job.id for job in dispatched(ahead=1)] == [five[1].id]


def test_a_message_that_nobody_took_for_long_is_forgotten(five):
    old, young = dispatched()
    age(old, 61)
    assert forgotten() == 1
    with transaction() as conn:
        woken = {row["id"] for row in conn.execute("select id from jobs where woken_at is not null")}
    assert woken == {young.id}


def test_messages_that_the_broker_lost_are_forgotten_sooner(five):
    for job in dispatched():
        age(job, 11)
    assert forgotten(in_broker=0) == 2


def test_messages_that_still_wait_in_the_broker_are_kept(five):
    for job in dispatched():
        age(job, 11)
    assert forgotten(in_broker=2) == 0


def test_fresh_messages_are_kept_even_when_the_broker_shows_none(five):
    dispatched()
    assert forgotten(in_broker=0) == 0


def test_a_claimed_job_is_not_woken(five):
    claimed(five[0])
    assert five[0].id not in {job.id for job in dispatched(ahead=5)}
    assert now(five[0]).lease_owner == "w1"


def stands_behind(job: Job) -> bool:
    with transaction() as conn:
        return windows.stands_behind(conn, job)


@pytest.fixture
def two(key_id) -> tuple[Job, Job]:
    """Two queued jobs, the older one first."""
    older, newer = [queued(made(key_id)) for _ in range(2)]
    return older, newer


def test_a_job_stands_behind_an_older_one_that_waits_to_be_offered(two):
    older, newer = two
    assert stands_behind(newer)
    assert not stands_behind(older)


@pytest.mark.parametrize(
    "change",
    [
        "woken_at = clock_timestamp()",
        "not_before = clock_timestamp() + interval '1 hour'",
        "queue = 'train-elsewhere'",
        "org_id = 'another'",
        "priority = -1",
        "status = 'paused', desired = 'pause'",
        "status = 'cancelled', desired = 'cancel', finished_at = clock_timestamp()",
    ],
)
def test_a_job_stands_behind_none_that_is_offered_or_cannot_be_or_comes_later(two, change):
    older, newer = two
    with transaction() as conn:
        conn.execute("insert into orgs (id) values ('another') on conflict do nothing")
        conn.execute(f"update jobs set {change} where id = %s", (older.id,))
    assert not stands_behind(newer)


def test_a_job_whose_turn_is_before_one_that_is_offered_stands_behind_none(two, key_id):
    latest = queued(made(key_id))
    assert stands_behind(two[1])
    with transaction() as conn:
        conn.execute("update jobs set woken_at = clock_timestamp() where id = %s", (latest.id,))
    assert not stands_behind(two[1])


def test_a_job_with_a_higher_priority_stands_behind_no_other(two):
    _, newer = two
    with transaction() as conn:
        conn.execute("update jobs set priority = 5 where id = %s", (newer.id,))
    assert not stands_behind(newer)
