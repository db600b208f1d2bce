"""Who is offered to the workers first: shares between organizations, priority within one, limits, and making way."""

import pytest

from app.core import names
from app.core.errors import Unknown
from app.core.job import Job
from app.core.states import Outcome, Status
from app.store import jobs, keys, leases, orgs, windows
from app.store.db import transaction
from tests.store.conftest import claimed, finished, now, queued

MANY = 1000


def key_of(org: str) -> str:
    with transaction() as conn:
        return keys.create(
            conn, names.api_key(), project_id=org, org_id=org, name="k", scopes=("write",), strict=False
        ).id


@pytest.fixture
def add(key_id):
    """Queue a job of an organization."""
    with transaction() as conn:
        conn.execute("update orgs set usage = 0, weight = 1, max_running = null, max_waiting = null")
    made_keys = {org: key_of(org) for org in ("anna", "bert", "carl")}

    def one(org: str, *, queue: str = "train", priority: int = 0) -> Job:
        with transaction() as conn:
            job = jobs.insert(
                conn,
                names.job_id(),
                project_id=org,
                key_id=made_keys[org],
                queue=queue,
                priority=priority,
                spec={"model": "tiny", "training_file": "file-a"},
                metadata=None,
                idem_key=None,
                idem_hash="hash",
            )
        return queued(job)

    return one


def offered(ahead: int = MANY, *, queue: str = "train", max_running: int = 0) -> list[Job]:
    with transaction() as conn:
        return windows.dispatch(conn, Status.QUEUED, queue, ahead=ahead, max_running=max_running)


def orgs_of(found: list[Job]) -> list[str]:
    return [job.org_id for job in found]


def change(org: str, *, weight: float | None = None, max_running: int | None = None) -> None:
    with transaction() as conn:
        orgs.change(conn, org, weight=weight, max_running=max_running, max_waiting=None)


def use(org: str, seconds: float) -> None:
    with transaction() as conn:
        orgs.charge(conn, {org: seconds})


def test_two_organizations_take_turns_however_many_jobs_one_of_them_has(add):
    for _ in range(6):
        add("anna")
    add("bert")
    add("bert")

    assert orgs_of(offered())[:4] in (["anna", "bert", "anna", "bert"], ["bert", "anna", "bert", "anna"])


def test_three_times_the_weight_is_three_times_the_share(add):
    change("anna", weight=3)
    for _ in range(30):
        add("anna")
        add("bert")

    first = orgs_of(offered())[:24]

    assert first.count("anna") == 18


def test_used_trainer_time_counts_against_an_organization(add):
    add("anna")
    add("bert")
    use("anna", 10)

    assert orgs_of(offered()) == ["bert", "anna"]


def test_used_trainer_time_halves_in_a_day(add):
    use("anna", 100)
    with transaction() as conn:
        conn.execute("update orgs set usage_at = usage_at - interval '1 day' where id = 'anna'")
        assert orgs.get(conn, "anna").usage == pytest.approx(50, rel=1e-3)


def test_priority_decides_within_an_organization_and_not_beyond(add):
    plain, urgent = add("anna"), add("anna", priority=5)
    other = add("bert")
    use("anna", 10)

    assert [job.id for job in offered()] == [other.id, urgent.id, plain.id]


def test_a_newcomer_overtakes_offered_jobs_and_their_old_messages_are_void(add):
    old = [add("anna") for _ in range(3)]
    sent = offered(ahead=3)
    assert [job.id for job in sent] == [job.id for job in old]
    with transaction() as conn:
        holder = leases.claim(
            conn, old[0].id, ready=Status.QUEUED, owner="w", lease_seconds=60, task_id=sent[0].task_id
        )
    assert holder is not None
    newcomer = add("bert")

    again = offered(ahead=2)

    assert [job.id for job in again] == [newcomer.id, old[1].id]
    for stale in sent[1:]:
        with transaction() as conn:
            assert (
                leases.claim(conn, stale.id, ready=Status.QUEUED, owner="w", lease_seconds=60, task_id=stale.task_id)
                is None
            )
    assert now_of(old[2]).status is Status.QUEUED


def now_of(job: Job) -> Job:
    with transaction() as conn:
        return jobs.get(conn, job.project_id, job.id)


def test_a_window_that_is_in_order_is_left_as_it_is(add):
    for _ in range(4):
        add("anna")
    offered(ahead=3)

    assert offered(ahead=3) == []


def test_a_limit_of_running_jobs_holds_across_queues(add):
    change("anna", max_running=2)
    for queue in ("train", "train", "gpu", "gpu"):
        add("anna", queue=queue)

    begun = [claimed(job) for job in offered(ahead=1)]

    assert len(offered(queue="gpu")) == 1
    assert offered() == []
    finished(begun[0], Outcome.DONE)
    assert len(offered()) == 1


def test_the_services_limit_holds_where_an_organization_has_none(add):
    for _ in range(3):
        add("anna")
    change("bert", max_running=0)
    for _ in range(3):
        add("bert")

    assert sorted(orgs_of(offered(max_running=2))) == ["anna", "anna", "bert", "bert", "bert"]


def test_the_place_of_every_job_is_its_turn_to_be_offered(add):
    use("anna", 400)
    use("carl", 1234)
    change("bert", weight=2)
    mixed = [("anna", 0), ("bert", 1), ("carl", 0), ("anna", 3), ("bert", 0), ("bert", 0), ("anna", 2), ("carl", 1)]
    waiting = [add(org, priority=priority) for org, priority in mixed]
    with transaction() as conn:
        places = {job.id: orgs.place(conn, job, max_running=0).position for job in waiting}

    order = [job.id for job in offered()]

    assert [places[job_id] for job_id in order] == list(range(1, len(waiting) + 1))


def test_a_turn_of_training_is_charged_and_shown_when_it_ends(add):
    held = claimed(add("anna"))
    with transaction() as conn:
        conn.execute("update jobs set claimed_at = claimed_at - interval '30 s' where id = %s", (held.id,))

    ended = finished(held, Outcome.STOPPED)

    with transaction() as conn:
        assert orgs.get(conn, "anna").usage == pytest.approx(30, abs=5)
    assert ended.active_seconds == pytest.approx(30, abs=5)


def test_a_lost_turn_is_charged_up_to_the_end_of_its_lease(add):
    held = claimed(add("anna"))
    with transaction() as conn:
        conn.execute(
            "update jobs set claimed_at = claimed_at - interval '90 s', lease_until = claimed_at - interval '50 s' "
            "where id = %s",
            (held.id,),
        )
        leases.take_back(conn, retry_seconds=0)

    with transaction() as conn:
        assert orgs.get(conn, "anna").usage == pytest.approx(40, abs=1)
    assert now_of(held).active_seconds == pytest.approx(40, abs=1)


def test_a_wait_in_the_queue_is_no_active_time(add):
    job = add("anna")
    with transaction() as conn:
        conn.execute("update jobs set created_at = created_at - interval '1 hour' where id = %s", (job.id,))

    assert finished(claimed(job), Outcome.STOPPED).active_seconds < 60


def test_limits_of_an_unknown_organization_cannot_be_set(database):
    with pytest.raises(Unknown), transaction() as conn:
        orgs.change(conn, "nobody", weight=1.0, max_running=None, max_waiting=None)


def test_a_trainer_killed_for_memory_again_and_again_fails_the_job_as_out_of_memory(new_job):
    job = queued(new_job)
    for _ in range(4):
        with transaction() as conn:
            conn.execute("update jobs set not_before = clock_timestamp() where id = %s", (job.id,))
        held = claimed(job, ready=Status.QUEUED)
        with transaction() as conn:
            leases.surrender(conn, held, loss="memory")
            leases.take_back(conn, retry_seconds=0)

    ended = now(job)

    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "out_of_memory"
    assert "smaller batch_size" in ended.error["message"]
