"""Jobs as their owners see them: states on the wire, cancel, pause and resume."""

import pytest

from app import queue
from app.core.states import Outcome, Status
from app.store import leases
from app.store.db import transaction
from tests.dialects.conftest import JOBS, person, problem
from tests.store.conftest import claimed, finalizing, finished, queued, running


def act(who, job, verb, body=None):
    return who.post(f"{JOBS}/{job.id}/{verb}", body)


def seen(who, job):
    return who.get(f"{JOBS}/{job.id}").json


@pytest.fixture
def new(ann):
    return ann.row(ann.job()["id"])


def ended(job, **result):
    return finished(claimed(finalizing(job)), Outcome.DONE, result=result)


def failed(job):
    error = {"code": "invalid_n_examples", "message": "Training file has 7 example(s)", "param": "training_file"}
    return finished(claimed(job), Outcome.FAILED, error=error)


def test_every_unfinished_job_can_be_cancelled_and_says_so_at_once(ann):
    for make in (lambda job: job, queued, running, finalizing):
        job = make(ann.row(ann.job()["id"]))
        assert act(ann, job, "cancel").json["status"] == "cancelled"
        assert seen(ann, job)["status"] == "cancelled"


def test_a_cancel_the_worker_has_not_seen_yet_is_cancelled_on_the_wire_and_unfinished(ann, new):
    job = running(new)
    answer = act(ann, job, "cancel").json
    assert answer["state_detail"] == "stopping"
    assert answer["finished_at"] is None
    assert ann.get(JOBS).json["data"][0]["status"] == "cancelled"
    finished(job, Outcome.STOPPED)
    assert seen(ann, job)["finished_at"] is not None


def test_cancelling_again_answers_the_same(ann, new):
    first = act(ann, new, "cancel")
    for _ in range(3):
        again = act(ann, new, "cancel", {})
        assert again.status_code == 200
        assert again.json == first.json


def test_a_job_is_cancelled_though_its_file_was_deleted(ann, new):
    ann.delete(f"/v1/files/{new.spec['training_file']}")
    assert act(ann, new, "cancel").json["status"] == "cancelled"


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
@pytest.mark.parametrize("end", [ended, failed])
def test_what_has_ended_cannot_be_changed(ann, new, verb, end):
    job = end(new)
    assert "Job has already completed" in problem(act(ann, job, verb), 400)["message"]
    assert ann.row(job.id).status is job.status


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_was_cancelled_is_neither_paused_nor_resumed(ann, new, verb):
    job = running(new)
    act(ann, job, "cancel")
    assert "Job has already completed" in problem(act(ann, job, verb), 400)["message"]


def test_a_waiting_job_is_paused_in_the_request_and_queued_again_by_a_resume(ann, new):
    job = queued(new)
    assert act(ann, job, "pause").json["status"] == "paused"
    assert act(ann, job, "pause").json["status"] == "paused"
    assert act(ann, job, "resume").json["status"] == "queued"
    assert act(ann, job, "resume").json["status"] == "queued"


def test_a_running_job_is_pausing_until_its_worker_has_let_go(ann, new):
    job = running(new)
    answer = act(ann, job, "pause").json
    assert (answer["status"], answer["state_detail"]) == ("running", "pausing")
    finished(job, Outcome.STOPPED)
    assert (seen(ann, job)["status"], seen(ann, job)["state_detail"]) == ("paused", None)


def test_a_pause_that_was_not_reached_yet_is_taken_back_by_a_resume(ann, new):
    job = running(new)
    act(ann, job, "pause")
    answer = act(ann, job, "resume").json
    assert (answer["status"], answer["state_detail"]) == ("running", None)


@pytest.mark.parametrize(("make", "reason"), [(lambda job: job, "validated"), (finalizing, "published")])
def test_a_pause_outside_training_is_refused_with_the_reason(ann, new, make, reason):
    job = make(new)
    assert reason in problem(act(ann, job, "pause"), 400)["message"]
    assert ann.row(job.id).status is job.status


def test_resuming_a_job_that_was_never_paused_changes_nothing(ann, new):
    assert act(ann, new, "resume").json["status"] == "validating_files"


def test_a_strict_key_sees_a_paused_job_as_queued(app, ann, new):
    strict = person(app, "ann", strict=True)
    job = queued(new)
    act(ann, job, "pause")
    for answer in (seen(strict, job), strict.get(JOBS).json["data"][0]):
        assert (answer["status"], answer["state_detail"]) == ("queued", "paused")


def test_finalizing_is_running_on_the_wire(ann, new):
    answer = seen(ann, finalizing(new))
    assert (answer["status"], answer["state_detail"]) == ("running", "finalizing")


def test_a_running_job_tells_its_progress_and_when_it_will_end(ann, new):
    job = running(new)
    told = {"step": 3, "total_steps": 9, "train_loss": 0.5, "tokens_per_second": 100.0, "seconds_left": 60}
    with transaction() as conn:
        leases.renew(conn, job, lease_seconds=60, progress=told)
    answer = seen(ann, job)
    assert answer["progress"] == told
    assert answer["estimated_finish"] == int(ann.row(job.id).updated_at.timestamp() + 60)
    assert answer["fine_tuned_model"] is None


def test_a_paused_job_has_no_estimate(ann, new):
    job = running(new)
    with transaction() as conn:
        leases.renew(conn, job, lease_seconds=60, progress={"seconds_left": 60})
    act(ann, job, "pause")
    assert seen(ann, job)["estimated_finish"] is None


def test_a_job_that_waits_again_has_no_estimate(ann, new):
    stopped = finished(running(new), Outcome.STOPPED, progress={"step": 3, "seconds_left": 60})
    assert stopped.progress["seconds_left"] == 60
    answer = seen(ann, stopped)
    assert (answer["status"], answer["estimated_finish"]) == ("queued", None)


def test_what_workers_keep_for_each_other_is_not_shown(ann, new):
    job = running(new)
    kept = {"worker": "host:1:a", "pace": {"seconds_per_token": 0.1}}
    with transaction() as conn:
        leases.renew(conn, job, lease_seconds=60, progress={"step": 3, **kept})
    assert seen(ann, job)["progress"] == {"step": 3}


def test_auto_becomes_numbers_once_the_files_were_validated(ann):
    job = ann.row(ann.job(hyperparameters={"n_epochs": "auto"})["id"])
    chosen = {"epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0, "lora_rank": 16, "scheduler": "cosine"}
    finished(claimed(job), Outcome.DONE, result={"hyperparameters": chosen, "total_steps": 30})
    answer = seen(ann, job)
    assert answer["hyperparameters"]["n_epochs"] == 3
    assert answer["hyperparameters"]["lr_scheduler"] == "cosine"
    assert answer["method"]["supervised"]["hyperparameters"] == answer["hyperparameters"]
    assert answer["total_steps"] == 30


def test_what_was_made_is_shown_only_once_the_job_succeeded(ann, new):
    held = running(new)
    made = {"fine_tuned_model": "ft:m", "trained_tokens": 9, "result_files": ["file-1"], "report_file": "file-2"}
    at_work = finished(held, Outcome.DONE, result=made)
    before = seen(ann, at_work)
    assert (before["fine_tuned_model"], before["trained_tokens"], before["result_files"]) == (None, None, [])
    assert before["report_file"] == "file-2"
    finished(claimed(at_work), Outcome.DONE, result={"manifest_file": "file-3"})
    after = seen(ann, at_work)
    assert (after["fine_tuned_model"], after["trained_tokens"], after["result_files"]) == ("ft:m", 9, ["file-1"])
    assert after["manifest_file"] == "file-3"
    assert after["finished_at"] is not None


def test_a_failed_job_says_why_and_any_other_has_null(ann, new):
    assert seen(ann, new)["error"] is None
    failed(new)
    assert seen(ann, new)["error"] == {
        "code": "invalid_n_examples",
        "message": "Training file has 7 example(s)",
        "param": "training_file",
    }


def test_an_unknown_job_is_unknown_on_every_route(ann):
    calls = [ann.get(f"{JOBS}/ftjob-no{tail}") for tail in ("", "/events", "/checkpoints")]
    calls += [ann.post(f"{JOBS}/ftjob-no/{verb}") for verb in ("cancel", "pause", "resume")]
    for answer in calls:
        error = problem(answer, 404)
        assert (error["code"], error["param"]) == ("fine_tune_not_found", "fine_tune_id")
        assert error["message"] == "Could not find fine tune: ftjob-no"


def test_a_new_job_is_offered_to_the_workers_and_a_cancelled_one_is_taken_back(ann, new, monkeypatch):
    assert queue.length(Status.VALIDATING_FILES, "train") >= 1
    assert ann.row(new.id).task_id is not None
    revoked = []
    monkeypatch.setattr("app.queue.revoke", revoked.append)
    act(ann, new, "cancel")
    assert [job.id for job in revoked] == [new.id]
