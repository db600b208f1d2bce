"""What the owner of a waiting job is told, and where an organization's jobs end."""

import pytest

from app.actions import jobs, orgs
from app.core.errors import Unknown, WrongState
from app.core.states import Outcome
from app.store.db import transaction
from tests.dialects.conftest import JOBS, problem
from tests.store.conftest import claimed, finished, queued, running


@pytest.fixture(autouse=True)
def fresh(app):
    with transaction() as conn:
        conn.execute("truncate job_events, checkpoints, models, jobs cascade")
        conn.execute("update orgs set usage = 0, weight = 1, max_running = null, max_waiting = null")


def new(who, **body):
    return who.row(who.job(**body)["id"])


def waiting(who, job):
    return who.get(f"{JOBS}/{job.id}").json["waiting"]


def limit(job, **limits):
    orgs.change(job.org_id, **{"weight": None, "max_running": None, "max_waiting": None, **limits})


def test_a_queued_job_says_where_it_stands_and_when_it_may_begin(ann):
    first, second = queued(new(ann)), queued(new(ann))
    assert waiting(ann, first) | {"estimated_start": 0} == {
        "queue": "train", "position": 1, "reason": "it is next: waiting for a free trainer", "estimated_start": 0,
    }  # fmt: skip
    assert waiting(ann, second)["position"] == 2
    assert waiting(ann, second)["reason"] == "1 jobs are ahead of it"
    assert waiting(ann, second)["estimated_start"] is None, "no job was timed yet"


def test_the_estimated_start_follows_from_the_length_of_the_latest_jobs(ann):
    trained = running(new(ann))
    with transaction() as conn:
        conn.execute("update jobs set claimed_at = claimed_at - interval '100 s' where id = %s", (trained.id,))
    finished(claimed(finished(trained, Outcome.DONE)), Outcome.DONE)
    running(new(ann))
    last = [queued(new(ann)) for _ in range(2)][-1]

    seen = ann.get(f"{JOBS}/{last.id}").json

    assert seen["waiting"]["estimated_start"] - seen["created_at"] == pytest.approx(150, abs=15)


def test_a_limit_of_running_jobs_is_the_reason_to_wait(ann):
    job = running(new(ann))
    limit(job, max_running=1)
    assert waiting(ann, queued(new(ann)))["reason"] == "its organization trains 1 jobs, and may train 1 at once"


def test_only_a_queued_job_waits(ann):
    job = new(ann)
    assert waiting(ann, job) is None
    assert waiting(ann, running(job)) is None


def test_one_job_too_many_is_refused_and_says_what_lifts_the_limit(ann):
    job = new(ann)
    limit(job, max_waiting=2)
    second = new(ann)
    answer = ann.create()
    refused = problem(answer, 429)
    assert answer.headers["x-should-retry"] == "false"
    assert refused["code"] == "too_many_waiting_jobs"
    assert "has 2 jobs waiting" in refused["message"]
    assert "max-waiting" in refused["message"]
    assert len(ann.get(JOBS).json["data"]) == 2
    ann.post(f"{JOBS}/{second.id}/cancel")
    assert ann.create().status_code == 200


def test_priority_and_active_time_are_shown(ann):
    job = new(ann, priority=7)
    seen = ann.get(f"{JOBS}/{job.id}").json
    assert (seen["priority"], seen["active_seconds"]) == (7, 0.0)


@pytest.mark.parametrize("priority", [101, -101, "1", 1.5, True])
def test_a_priority_that_is_no_whole_number_within_a_hundred_is_refused(ann, priority):
    answer = ann.create(priority=priority)
    assert problem(answer, 400)["param"] == "priority"


def test_a_model_of_a_queue_of_its_own_waits_there(ann):
    assert new(ann, model="big/base").queue == "gpu-80gb"


def test_the_operator_makes_a_running_job_go_back_to_the_queue(ann):
    job = running(new(ann))
    jobs.preempt(job.id)
    finished(job, Outcome.STOPPED)
    assert ann.get(f"{JOBS}/{job.id}").json["status"] == "queued"


def test_a_job_that_does_not_run_cannot_be_preempted(ann):
    with pytest.raises(WrongState):
        jobs.preempt(new(ann).id)


def test_limits_of_nobody_cannot_be_changed():
    with pytest.raises(Unknown):
        orgs.change("nobody", weight=2.0, max_running=None, max_waiting=None)
