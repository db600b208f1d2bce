"""Claim, heartbeat, finish and take-back: who may write, and what the row becomes."""

import pytest

from app.core.job import Job, NewEvent
from app.core.states import Desired, Outcome, Status
from app.store import checkpoints, events, jobs, leases
from app.store.db import transaction
from app.store.leases import LeaseLost
from tests.store.conftest import PROJECT, claimed, finalizing, finished, made, now, paused, queued, running


def renewed(job: Job) -> Desired:
    with transaction() as conn:
        return leases.renew(conn, job, lease_seconds=60, progress=None)


def taken_back() -> list[Job]:
    with transaction() as conn:
        return leases.take_back(conn, retry_seconds=10)


def wish(request, job: Job) -> Job:
    with transaction() as conn:
        found = request(conn, PROJECT, job.id)
    assert found is not None
    return found


def due(job: Job) -> None:
    with transaction() as conn:
        conn.execute("update jobs set not_before = clock_timestamp() where id = %s", (job.id,))


def messages(job: Job) -> list[str]:
    with transaction() as conn:
        return [event.message for event in reversed(events.page(conn, job.id, after=None, limit=100))]


def test_a_job_moves_from_validation_to_success(new_job):
    ended = finished(claimed(finalizing(new_job)), Outcome.DONE)
    assert ended.status is Status.SUCCEEDED
    assert ended.finished_at is not None


def test_a_second_claim_of_a_held_job_gets_nothing(new_job):
    claimed(new_job)
    with transaction() as conn:
        assert leases.claim(conn, new_job.id, ready=Status.VALIDATING_FILES, owner="rival", lease_seconds=60) is None


def test_a_claim_for_another_task_gets_nothing(new_job):
    with transaction() as conn:
        assert leases.claim(conn, new_job.id, ready=Status.QUEUED, owner="w", lease_seconds=60) is None


def test_a_job_that_is_not_due_is_not_claimed(new_job):
    with transaction() as conn:
        conn.execute("update jobs set not_before = clock_timestamp() + interval '1 hour' where id = %s", (new_job.id,))
        assert leases.claim(conn, new_job.id, ready=Status.VALIDATING_FILES, owner="w", lease_seconds=60) is None


def test_attempt_rises_with_every_claim(new_job):
    assert [claimed(new_job).attempt, now(new_job).attempt] == [1, 1]
    assert claimed(finished(now(new_job), Outcome.DONE)).attempt == 2


def test_a_heartbeat_brings_the_pause_wish(new_job):
    held = running(new_job)
    wish(jobs.request_pause, held)
    assert renewed(held) is Desired.PAUSE


def test_a_heartbeat_of_an_earlier_attempt_is_refused(new_job):
    zombie = running(new_job, lease_seconds=-1)
    taken_back()
    due(zombie)
    claimed(zombie, ready=Status.QUEUED)
    with pytest.raises(LeaseLost):
        renewed(zombie)


def test_a_finish_of_an_earlier_attempt_writes_nothing(new_job):
    zombie = running(new_job, lease_seconds=-1)
    taken_back()
    with pytest.raises(LeaseLost):
        finished(zombie, Outcome.DONE, result={"trained_tokens": 1})
    assert now(new_job).status is Status.QUEUED
    assert "trained_tokens" not in now(new_job).result


def test_events_of_an_earlier_attempt_are_refused(new_job):
    zombie = running(new_job, lease_seconds=-1)
    taken_back()
    with transaction() as conn, pytest.raises(LeaseLost):
        events.append(conn, zombie, [NewEvent("late")], seq=0)
    assert "late" not in messages(new_job)


def test_a_step_is_told_once_in_the_life_of_a_job(new_job):
    first = running(new_job, lease_seconds=-1)
    with transaction() as conn:
        events.append(conn, first, [NewEvent("as first seen", once="step:1")], seq=0)
    taken_back()
    due(first)
    again = claimed(first, ready=Status.QUEUED)
    with transaction() as conn:
        events.append(conn, again, [NewEvent("seen again", once="step:1"), NewEvent("new", once="step:2")], seq=0)
    told = messages(new_job)
    assert "as first seen" in told
    assert "new" in told
    assert "seen again" not in told


def test_a_pending_cancel_wins_over_success(new_job):
    held = claimed(finalizing(new_job))
    wish(jobs.request_cancel, held)
    ended = finished(held, Outcome.DONE, result={"fine_tuned_model": "ft:x"})
    assert ended.status is Status.CANCELLED
    assert "fine_tuned_model" not in ended.result


def test_a_pending_cancel_wins_over_failure(new_job):
    held = running(new_job)
    wish(jobs.request_cancel, held)
    ended = finished(held, Outcome.FAILED, error={"code": "x", "message": "m", "param": None})
    assert (ended.status, ended.error) == (Status.CANCELLED, None)


def test_a_stopped_run_with_a_pause_wish_is_paused(new_job):
    held = running(new_job)
    wish(jobs.request_pause, held)
    assert finished(held, Outcome.STOPPED).status is Status.PAUSED


def test_a_stopped_run_without_a_wish_is_queued_again(new_job):
    assert finished(running(new_job), Outcome.STOPPED).status is Status.QUEUED


def test_a_resume_before_the_pause_was_reached_queues_the_stopped_run(new_job):
    held = running(new_job)
    wish(jobs.request_pause, held)
    wish(jobs.request_resume, held)
    assert finished(held, Outcome.STOPPED).status is Status.QUEUED


def test_a_run_that_was_done_before_it_heard_of_the_pause_goes_on(new_job):
    held = running(new_job)
    wish(jobs.request_pause, held)
    ended = finished(held, Outcome.DONE)
    assert (ended.status, ended.desired) == (Status.FINALIZING, Desired.RUN)


def test_a_stopped_validation_stays_where_it_was(new_job):
    assert finished(claimed(new_job), Outcome.STOPPED).status is Status.VALIDATING_FILES


def test_a_paused_job_resumes_to_queued(new_job):
    assert wish(jobs.request_resume, paused(new_job)).status is Status.QUEUED


def test_a_pause_never_erases_a_cancel(new_job):
    held = running(new_job)
    wish(jobs.request_cancel, held)
    with transaction() as conn:
        assert jobs.request_pause(conn, PROJECT, held.id) is None
    assert now(new_job).desired is Desired.CANCEL


@pytest.mark.parametrize("prepare", [lambda job: job, queued, paused, finalizing])
def test_cancel_ends_a_job_that_no_worker_holds_at_once(new_job, prepare):
    ended = wish(jobs.request_cancel, prepare(new_job))
    assert ended.status is Status.CANCELLED
    assert ended.finished_at is not None


def test_a_job_that_ended_cannot_be_cancelled(new_job):
    ended = wish(jobs.request_cancel, new_job)
    with transaction() as conn:
        assert jobs.request_cancel(conn, PROJECT, ended.id) is None


def test_a_live_lease_is_not_taken_back(new_job):
    running(new_job)
    assert taken_back() == []


def test_a_lapsed_run_is_queued_again_and_waits(new_job):
    held = running(new_job, lease_seconds=-1)
    assert [job.id for job in taken_back()] == [held.id]
    lost = now(new_job)
    assert (lost.status, lost.crashes) == (Status.QUEUED, 1)
    with transaction() as conn:
        assert leases.claim(conn, lost.id, ready=Status.QUEUED, owner="w", lease_seconds=60) is None


def test_a_surrendered_job_is_taken_back_in_the_next_round(new_job):
    held = running(new_job)
    with transaction() as conn:
        leases.surrender(conn, held)
    assert len(taken_back()) == 1


def test_a_lapsed_run_with_a_pause_wish_is_paused(new_job):
    held = running(new_job, lease_seconds=-1)
    wish(jobs.request_pause, held)
    assert taken_back()[0].status is Status.PAUSED


def test_a_lapsed_run_with_a_cancel_wish_is_cancelled(new_job):
    held = running(new_job, lease_seconds=-1)
    wish(jobs.request_cancel, held)
    assert taken_back()[0].status is Status.CANCELLED


def lose(job: Job) -> Job:
    due(job)
    claimed(job, ready=Status.QUEUED, lease_seconds=-1)
    return taken_back()[0]


def test_the_fourth_loss_in_a_row_fails_the_job(new_job):
    job = queued(new_job)
    for _ in range(3):
        job = lose(job)
        assert job.status is Status.QUEUED
    ended = lose(job)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "worker_lost"


def test_a_new_checkpoint_forgives_the_losses_before_it(new_job, checkpoint):
    job = lose(queued(new_job))
    due(job)
    held = claimed(job, ready=Status.QUEUED)
    with transaction() as conn:
        checkpoints.record(conn, held, checkpoint(held, 5))
    assert now(new_job).crashes == 0


def test_the_log_tells_a_loss_before_the_move_it_caused(new_job):
    running(new_job, lease_seconds=-1)
    taken_back()
    told = messages(new_job)
    assert told[-2].startswith("Worker lost")
    assert told[-1] == "Training was interrupted, moving job back to queued state"


def test_the_log_of_a_job_reads_like_openais(new_job):
    done = finished(claimed(finalizing(new_job)), Outcome.DONE, result={"fine_tuned_model": "ft:tiny:x"})
    assert messages(done) == [
        f"Created fine-tuning job: {done.id}",
        "Validating training file: file-a",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
        "Training finished, publishing the model",
        "New fine-tuned model created: ft:tiny:x",
        "The job has successfully completed",
    ]


def test_nothing_is_told_after_the_end(new_job):
    held = running(new_job, lease_seconds=-1)
    wish(jobs.request_cancel, held)
    taken_back()
    assert messages(new_job)[-1] == "The job was cancelled"


def test_another_projects_job_is_unknown(key_id):
    job = made(key_id)
    with transaction() as conn:
        assert jobs.request_cancel(conn, "another", job.id) is None
        assert jobs.request_pause(conn, "another", job.id) is None
        assert jobs.request_resume(conn, "another", job.id) is None
