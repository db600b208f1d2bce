"""Early ends and best checkpoints, with a scripted backend: what becomes of a trainer's lines about them."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from app.core.states import Outcome, Status
from app.store import checkpoints
from app.store.db import transaction
from tests.workers.scripted import (
    DONE,
    HYPERPARAMETERS,
    STARTED,
    Scripted,
    checkpoint_line,
    known,
    progress_line,
    step,
    told,
    trained,
    waiting_job,
)  # fmt: skip
from workers import training
from workers.supervision import serve

__all__ = ["waiting_job"]


@pytest.fixture
def best_job(waiting_job):
    """A job whose model is its best checkpoint."""
    chosen = {"hyperparameters": {**HYPERPARAMETERS, "keep_best": True}}
    with transaction() as conn:
        conn.execute("update jobs set result = %s where id = %s", (json.dumps(chosen), waiting_job.id))
    return waiting_job


def best_line(number, loss, kind="resume"):
    return {**checkpoint_line(number, kind), "best": True, "metrics": {"full_valid_loss": loss}}


def test_the_best_checkpoint_is_told_and_comes_to_the_next_worker_when_it_is_to_become_the_model(best_job):
    others = [checkpoint_line(number, "stop") for number in (2, 3, 4)]
    job = trained(best_job, Scripted([STARTED, best_line(1, 0.5), *others], Outcome.STOPPED))
    assert known(job) == [4, 3, 1]
    assert "Checkpoint created at step 1" in [event.message for event in told(job)]
    second = Scripted([{**STARTED, "resumed_from": 4, "best_step": 1}, DONE])
    trained(job, second)
    assert second.found == ["step-1", "step-3", "step-4"]


def test_right_after_a_new_best_the_one_of_the_checkpoint_before_it_comes_too(best_job):
    made = [best_line(1, 0.5), checkpoint_line(2, "stop"), best_line(3, 0.4)]
    job = trained(best_job, Scripted([STARTED, *made], Outcome.STOPPED))
    assert known(job) == [3, 2, 1]
    second = Scripted([{**STARTED, "resumed_from": 2, "best_step": 1}, DONE])
    trained(job, second)
    assert second.found == ["step-1", "step-2", "step-3"]
    assert known(job) == [2, 1]


def test_of_the_checkpoints_that_wait_only_those_are_stored_that_a_later_one_needs(best_job, tmp_path):
    made = [
        best_line(1, 0.9), checkpoint_line(2), best_line(3, 0.8), checkpoint_line(4), checkpoint_line(5, "epoch"),
        best_line(6, 0.7), checkpoint_line(7), best_line(8, 0.6), checkpoint_line(9), checkpoint_line(10),
    ]  # fmt: skip
    backend = Scripted([STARTED, *made, DONE])
    waiting, held = Event(), []

    def look():
        held.append({path.name for path in tmp_path.glob("publishing/*")})
        if len(held) == len(made) + 1:
            waiting.set()

    backend.between = look
    with ThreadPoolExecutor(1) as publisher:
        publisher.submit(waiting.wait)
        serve(best_job.id, Status.QUEUED, lambda lease: training._run(lease, backend, tmp_path, publisher))
    assert held[4] == {"step-3", "step-4"}
    assert held[len(made)] == {"step-3", "step-5", "step-8", "step-10"}
    stored = [event.data["step"] for event in told(best_job) if event.message.startswith("Checkpoint created")]
    assert stored == [3, 5, 8]
    assert known(best_job) == [10, 8, 5]


def test_a_run_that_ended_early_is_through_and_its_model_is_that_of_another_step(waiting_job):
    fell = {"step": 1, "full_valid_loss": 0.3121}
    ended = {
        "type": "ended_early", "step": 3, "total_steps": 3, "planned_steps": 40, "evaluations": 2, "delta": 0.0,
        "fell": fell, "seconds_left": 0.5,
    }  # fmt: skip
    best = {"type": "best", **fell, "last_step": 3, "last_full_valid_loss": 0.35}
    done = {**DONE, "step": 3, "metrics": {"step": 1, "train_loss": 0.5}}
    job = trained(
        waiting_job, Scripted([STARTED, progress_line(2, seconds_left=900.0), step(3), ended, best, best, done])
    )
    assert (job.progress["step"], job.progress["total_steps"]) == (3, 3)
    assert job.progress["seconds_left"] < 2
    assert (job.result["total_steps"], job.result["model_step"]) == (3, 1)
    assert [event.message for event in told(job)][-3:-1] == [
        "Training ended early at step 3 of 40: the validation loss has not fallen for 2 evaluations; "
        "it was 0.3121 at step 1",
        "The model is the best checkpoint: its validation loss was 0.3121 at step 1, and 0.3500 at the last step, 3",
    ]


def test_a_run_that_goes_on_from_before_the_best_checkpoint_shows_the_one_that_it_knows(waiting_job):
    epochs = [{**checkpoint_line(number, "epoch"), "best": True} for number in (2, 3)]
    job = trained(waiting_job, Scripted([STARTED, *epochs], Outcome.STOPPED))
    trained(job, Scripted([{**STARTED, "resumed_from": 2, "best_step": 2}, DONE]))
    with transaction() as conn:
        assert [(found.step, found.best) for found in checkpoints.resumable(conn, job.id)] == [(2, True)]
