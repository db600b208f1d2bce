"""What a job leaves that went through all stages, in the log, in storage and in public; and what stays of it."""

import json
import re
from typing import Any

import pytest

from app.blobs import storage
from app.core.states import Status
from app.store import checkpoints, events, files, jobs, models
from app.store.db import transaction
from tests.store.conftest import PROJECT, now
from tests.workers.stages.samples import ROWS, VALID, content, created, told, uploaded, whole
from workers import clock, finalization, training, validation

pytestmark = pytest.mark.slow


def test_a_job_goes_through_all_three_stages(succeeded):
    assert succeeded.status is Status.SUCCEEDED
    assert succeeded.result["fine_tuned_model"] == f"ft:tiny:default::{succeeded.id[-8:]}"


def test_hyperparameters_are_resolved_to_numbers(succeeded):
    resolved = succeeded.result["hyperparameters"]
    assert (resolved["epochs"], resolved["batch_size"], resolved["learning_rate"]) == (2, 4, 0.01)
    assert succeeded.result["total_steps"] == 12


def test_tokens_are_counted_with_the_models_own_tokenizer(succeeded):
    counted = succeeded.result["training"]
    assert counted["rows"] == 24
    assert 0 < counted["trained_tokens"] < counted["tokens"]
    assert succeeded.result["trained_tokens"] == 2 * counted["tokens"]


def test_the_model_is_public_and_linked_under_its_name(succeeded):
    name = succeeded.result["fine_tuned_model"]
    with transaction() as conn:
        model = models.find(conn, PROJECT, name)
    assert model is not None
    link = storage().path(f"models/{PROJECT}/{name}")
    config = json.loads((link / "adapter_config.json").read_text())
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", "tiny")


def test_the_result_file_has_a_row_for_every_step(succeeded):
    with transaction() as conn:
        file = files.get(conn, PROJECT, succeeded.result["result_files"][0])
    with storage().open(file.path) as stored:
        lines = stored.read().decode().splitlines()
    assert lines[0].startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(1, 13))


def test_the_manifest_says_what_made_the_model(succeeded):
    manifest = json.loads(content(succeeded, "manifest_file"))
    assert manifest["requested"]["seed"] == 5
    assert manifest["hyperparameters"]["epochs"] == 2
    assert manifest["environment"]["dtype"] == "float32"


def test_base_and_tuned_answers_are_kept(succeeded):
    answers = [json.loads(line) for line in content(succeeded, "answers_file").splitlines()]
    assert len(answers) == 3
    assert {"expected", "base", "tuned", "base_exact", "tuned_exact"} <= set(answers[0])
    assert any(message.startswith("Answers to 3 validation prompts") for message in told(succeeded))


def test_the_rows_with_the_highest_loss_are_named_by_line_in_a_file_and_an_event(succeeded):
    written = [json.loads(line) for line in content(succeeded, "hardest_file").splitlines()]
    lines = {kind: [row["line"] for row in written if row["rows"] == kind] for kind in ("training", "validation")}
    assert (len(lines["training"]), len(lines["validation"])) == (10, 4)
    training, validation = (", ".join(map(str, found)) for found in lines.values())
    message = f"Rows with the highest loss: training lines {training}; validation lines {validation}"
    with transaction() as conn:
        [event] = [
            found for found in events.page(conn, succeeded.id, after=None, limit=100) if found.message == message
        ]
    assert event.data["hardest_file"] == succeeded.result["hardest_file"]
    assert event.data["validation"]["losses"] == [row["loss"] for row in written if row["rows"] == "validation"]


def test_a_preflight_that_passed_tells_how_nearly(succeeded):
    [message] = [message for message in told(succeeded) if message.startswith("Preflight passed")]
    assert re.fullmatch(r"Preflight passed: the longest rows take \d\.\d\d of \d+\.\d\d GB of memory", message)


def test_each_epoch_left_a_usable_checkpoint(succeeded):
    with transaction() as conn:
        found = checkpoints.page(conn, succeeded.id, after=None, limit=10)
    assert [checkpoint.step for checkpoint in found] == [12, 6]
    assert (storage().path(found[0].path) / "weights" / "adapter_config.json").is_file()


def test_resume_points_go_when_the_job_has_ended(succeeded):
    clock.purge()
    with transaction() as conn:
        assert {checkpoint.kind for checkpoint in checkpoints.resumable(conn, succeeded.id)} == {"epoch"}


def test_the_log_has_one_metrics_event_a_step_and_ends_with_success(succeeded):
    messages = told(succeeded)
    assert sum(message.startswith("Step ") for message in messages) == 12
    assert messages[-1] == "The job has successfully completed"


def test_the_bytes_of_a_deleted_file_go_when_no_job_needs_them(succeeded):
    file_id = uploaded(ROWS)
    with transaction() as conn:
        path = files.delete(conn, PROJECT, file_id).path
    clock.purge()
    assert not storage().path(path).exists()


def test_a_deleted_model_leaves_neither_link_nor_bytes(key_id):
    ended = whole(created(key_id, ROWS, VALID))
    with transaction() as conn:
        model = models.delete(conn, PROJECT, ended.result["fine_tuned_model"])
    clock.purge()
    assert not storage().path(model.path).exists()
    assert not storage().path(f"models/{PROJECT}/{model.name}").is_symlink()


def test_a_worker_that_died_between_commit_and_link_is_made_good_by_the_clock(succeeded):
    link = storage().path(f"models/{PROJECT}/{succeeded.result['fine_tuned_model']}")
    link.unlink()
    with transaction() as conn:
        conn.execute("update models set linked_at = null")
    finalization.link_published()
    assert link.is_dir()


def test_a_cancel_during_finalization_leaves_no_model(key_id, monkeypatch):
    job = created(key_id, ROWS, VALID)
    validation.validate(job.id)
    training.train(job.id)
    ours = finalization.result_csv

    def cancelling(steps: Any, columns: Any) -> bytes:
        with transaction() as conn:
            jobs.request_cancel(conn, PROJECT, job.id)
        return ours(steps, columns)

    monkeypatch.setattr(finalization, "result_csv", cancelling)
    finalization.finalize(job.id)
    assert now(job).status is Status.CANCELLED
    with transaction() as conn:
        assert models.find(conn, PROJECT, f"ft:tiny:default::{job.id[-8:]}") is None
        assert (
            conn.execute(
                "select 1 from files where filename = 'manifest.json' and path like %s", (f"%{job.id}%",)
            ).fetchone()
            is None
        )
