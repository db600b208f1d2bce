"""A job that holds rows out, ends early and publishes its best checkpoint, through all stages with the real trainer."""

import json

import pytest

from app.blobs import storage
from app.core import carveout
from app.core.job import Checkpoint
from app.core.states import Status
from app.store import checkpoints, events
from app.store.db import transaction
from tests.store.conftest import now
from tests.workers.stages.samples import ROWS, content, created, told, whole
from tests.workers.stages.test_reports import asked, made
from tests.workers.stages.test_validation import failed
from workers import clock

pytestmark = pytest.mark.slow

SHARE, SEED = 0.25, 5
HELD = carveout.places(len(ROWS), SHARE, seed=SEED)
PATIENT = {
    "early_stopping_patience": 2, "early_stopping_delta": 100, "eval_steps": 4, "epochs": 8, "learning_rate": 0.3,
}  # fmt: skip
"""Nothing falls by more than the delta: the third evaluation is the last, at steps 4, 5, an epoch's end, and 8.

At this rate the loss rises behind the first one.
"""


@pytest.fixture(scope="module")
def ended(key_id):
    job = whole(created(key_id, ROWS, eval_carveout=SHARE, **PATIENT))
    clock.purge()
    return now(job)


def usable(job) -> list[Checkpoint]:
    with transaction() as conn:
        return checkpoints.page(conn, job.id, after=None, limit=10)


def test_it_ends_early_and_every_number_says_so(ended):
    assert ended.status is Status.SUCCEEDED
    assert (ended.progress["step"], ended.progress["total_steps"], ended.result["total_steps"]) == (8, 8, 8)
    said = [message for message in told(ended) if message.startswith("Training ended early")]
    assert len(said) == 1
    assert said[0].startswith("Training ended early at step 8 of 40: the validation loss has not fallen by more than")
    with transaction() as conn:
        steps = [event.data for event in events.metrics(conn, ended.id)]
    assert [step["step"] for step in steps] == list(range(1, 9))
    assert ended.result["trained_tokens"] == sum(step["tokens"] for step in steps)
    assert ended.result["training"]["tokens"] == sum(step["tokens"] for step in steps[:5])
    manifest = json.loads(content(ended, "manifest_file"))
    assert (manifest["steps"], manifest["planned_steps"]) == (8, 40)
    assert manifest["model_step"] == manifest["metrics"]["step"] == ended.result["model_step"]


def test_the_model_is_the_one_checkpoint_that_is_shown_as_the_best(ended):
    [best] = [checkpoint for checkpoint in usable(ended) if checkpoint.best]
    losses = {checkpoint.step: checkpoint.metrics["full_valid_loss"] for checkpoint in usable(ended)}
    with transaction() as conn:
        measured = [event.data for event in events.metrics(conn, ended.id)]
    assert losses[best.step] == min(step["full_valid_loss"] for step in measured if "full_valid_loss" in step)
    assert best.step == ended.result["model_step"]
    assert best.step < 8
    assert any(message.endswith(f", by the checkpoint of step {best.step}") for message in told(ended))
    assert any(f"at step {best.step}" in said for said in told(ended) if said.startswith("The model is the best"))
    model, kept = (
        storage().path(path) / "adapter_model.safetensors"
        for path in (ended.result["model_path"], f"{best.path}/weights")
    )
    assert model.read_bytes() == kept.read_bytes()


def test_rows_that_are_held_out_are_counted_apart_and_answered_by_their_lines(ended):
    assert (ended.result["training"]["rows"], ended.result["validation"]["rows"]) == (18, 6)
    assert any("6 rows held out for validation" in message for message in told(ended))
    lines = [json.loads(line)["line"] for line in content(ended, "answers_file").splitlines()]
    assert lines == [place + 1 for place in HELD[:3]]


def test_the_report_before_there_is_a_job_counts_the_same_rows_apart(ended):
    [of_job] = json.loads(content(ended, "report_file"))["files"]
    split = {"hyperparameters": {"eval_carveout": SHARE}, "seed": SEED}
    [found] = made(asked(training_file=ended.spec["training_file"], **split))["files"]
    assert {name: value for name, value in found.items() if name != "cut_rows"} == of_job
    assert carveout.trained_part(found)["tokens"] == ended.result["training"]["tokens"]


def test_too_few_rows_left_to_train_on_are_an_error_of_the_job_and_of_the_report(key_id):
    job = created(key_id, ROWS[:12], eval_carveout=SHARE)
    error = failed(job)
    assert (error["code"], error["param"]) == ("invalid_n_examples", "training_file")
    assert "12 example(s), 3 of them held out by eval_carveout" in error["message"]
    split = {"hyperparameters": {"eval_carveout": SHARE}, "seed": SEED}
    assert made(asked(training_file=job.spec["training_file"], **split))["error"] == error
