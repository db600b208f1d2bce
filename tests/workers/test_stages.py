"""The three stages with the real trainer: files in, a published model out, and what bad files get."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.blobs import storage
from app.core import names
from app.core.errors import JobFailed
from app.core.job import File, Job
from app.core.states import Status
from app.store import checkpoints, events, files, jobs, keys, leases, models
from app.store.db import transaction
from app.store.migrate import migrate
from tests.services import eventually
from tests.settings import settings
from tests.store.conftest import PROJECT, made, now
from tests.trainer.conftest import build_model, chat
from workers import clock, finalization, training, validation
from workers.backends.child import Child

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("stages")
    (folder / "tiny").mkdir()
    build_model(folder / "tiny")
    (folder / "models.toml").write_text(
        '[[model]]\nname = "tiny"\nsource = "./tiny"\ncontext_length = 64\n'
        "learning_rate = { lora = 0.01, full = 0.01 }\n"
    )
    with settings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1",
        storage_url=str(folder / "storage"),
        work_dir=str(folder / "work"),
        models_file=str(folder / "models.toml"),
        heartbeat_seconds="0.05",
        checkpoint_seconds="0",
        trainer_threads="1",
        answers="3",
    ):
        migrate()
        training.backend.cache_clear()
        yield
        training.backend().close()
        training.backend.cache_clear()


def uploaded(rows: list[dict[str, Any]] | bytes) -> str:
    content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = f"files/{names.file_id()}"
    written = storage().put(path, content)
    new = File(names.file_id(), PROJECT, "rows.jsonl", "fine-tune", written.size, written.sha256, path, None)
    with transaction() as conn:
        return files.insert(conn, new).id


def created(
    key_id: str, rows: list[dict[str, Any]] | bytes, valid: list[dict[str, Any]] | None = None, **asked: Any
) -> Job:
    return made(
        key_id,
        training_file=uploaded(rows),
        validation_file=uploaded(valid) if valid is not None else None,
        method="supervised",
        seed=5,
        suffix=None,
        hyperparameters={"epochs": 2, "batch_size": 4, **asked},
    )


def told(job: Job, *, level: str | None = None) -> list[str]:
    with transaction() as conn:
        found = reversed(events.page(conn, job.id, after=None, limit=1000))
        return [event.message for event in found if level in (None, event.level)]


def content(job: Job, role: str) -> bytes:
    with transaction() as conn:
        file = files.get(conn, job.project_id, now(job).result[role])
    with storage().open(file.path) as stored:
        return stored.read()


ROWS = [chat(place) for place in range(24)]
VALID = [chat(place) for place in range(100, 104)]


def whole(job: Job) -> Job:
    for stage in (validation.validate, training.train, finalization.finalize):
        stage(job.id)
    return now(job)


def adapter(job: Job) -> bytes:
    with storage().open(f"{job.result['model_path']}/adapter_model.safetensors") as weights:
        return weights.read()


@pytest.fixture(scope="module")
def succeeded(database) -> Job:
    with transaction() as conn:
        key = keys.adopt(conn, names.api_key())
    return whole(created(key.id, ROWS, VALID))


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


def kill_the_trainer_behind_its_first_checkpoint(job: Job) -> None:
    def published() -> bool:
        with transaction() as conn:
            return bool(checkpoints.resumable(conn, job.id))

    eventually(published)
    for child in psutil.Process().children():
        if "workers.trainer" in child.cmdline():
            child.kill()


def test_a_killed_trainer_costs_no_bit_of_the_weights(succeeded, key_id_of):
    job = created(key_id_of(succeeded), ROWS, VALID)
    validation.validate(job.id)
    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill_the_trainer_behind_its_first_checkpoint, job)
        training.train(job.id)
        killed.result()
    lost = now(job)
    assert lost.status is Status.RUNNING
    with transaction() as conn:
        leases.take_back(conn, retry_seconds=0)
    training.train(job.id)
    finalization.finalize(job.id)
    ended = now(job)
    assert ended.attempt == succeeded.attempt + 1
    assert adapter(ended) == adapter(succeeded)


@pytest.fixture
def key_id_of():
    def find(job: Job) -> str:
        with transaction() as conn:
            row = conn.execute("select key_id from jobs where id = %s", (job.id,)).fetchone()
        assert row is not None
        return row["key_id"]

    return find


def failed(job: Job) -> dict[str, Any]:
    with pytest.raises(JobFailed):
        validation.validate(job.id)
    ended = now(job)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    return ended.error


def test_nine_examples_are_refused_in_openais_words(succeeded, key_id_of):
    assert failed(created(key_id_of(succeeded), ROWS[:9])) == {
        "code": "invalid_n_examples",
        "message": "Training file has 9 example(s), but must have at least 10 examples",
        "param": "training_file",
    }


def test_a_broken_line_is_named_and_the_report_is_kept(succeeded, key_id_of):
    rows = [json.dumps(row).encode() for row in ROWS]
    rows[16] = b'{"messages": [}'
    job = created(key_id_of(succeeded), b"\n".join(rows))
    error = failed(job)
    assert error["code"] == "invalid_training_file"
    assert "line 17" in error["message"].lower()
    report = json.loads(content(job, "report_file"))
    assert report["files"][0]["findings"][0]["line"] == 17


def test_cut_rows_are_a_warning_with_line_numbers(succeeded, key_id_of):
    long = {"messages": [{"role": "user", "content": "late " * 200}, {"role": "assistant", "content": "refund"}]}
    job = created(key_id_of(succeeded), [*ROWS, long])
    validation.validate(job.id)
    assert now(job).status is Status.QUEUED
    assert any("line 25" in warning for warning in told(job, level="warn"))


def test_training_rows_in_the_validation_file_are_a_warning(succeeded, key_id_of):
    job = created(key_id_of(succeeded), ROWS, [*VALID, ROWS[3]])
    validation.validate(job.id)
    assert any("training file too" in warning for warning in told(job, level="warn"))


def test_a_file_that_was_deleted_after_creation_is_still_trained_on(succeeded, key_id_of):
    job = created(key_id_of(succeeded), ROWS)
    with transaction() as conn:
        files.delete(conn, PROJECT, job.spec["training_file"])
    clock.purge()
    validation.validate(job.id)
    assert now(job).status is Status.QUEUED


def test_the_bytes_of_a_deleted_file_go_when_no_job_needs_them(succeeded):
    file_id = uploaded(ROWS)
    with transaction() as conn:
        path = files.delete(conn, PROJECT, file_id).path
    clock.purge()
    assert not storage().path(path).exists()


def test_a_deleted_model_leaves_neither_link_nor_bytes(succeeded, key_id_of):
    ended = whole(created(key_id_of(succeeded), ROWS, VALID))
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


def test_a_cancel_during_finalization_leaves_no_model(succeeded, key_id_of, monkeypatch):
    job = created(key_id_of(succeeded), ROWS, VALID)
    validation.validate(job.id)
    training.train(job.id)
    ours = finalization.result_csv

    def cancelling(steps: Any) -> bytes:
        with transaction() as conn:
            jobs.request_cancel(conn, PROJECT, job.id)
        return ours(steps)

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


def test_a_trainer_sees_no_secret_of_the_worker(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("REDIS_URL", "redis://secret")
    child = Child(["--standby"], threads=1)
    try:
        seen = Path(f"/proc/{child.pid}/environ").read_bytes()
    finally:
        child.kill()
    assert b"secret" not in seen
    assert b"PATH=" in seen


def test_a_child_that_is_told_more_than_it_reads_does_not_block_its_supervisor():
    child = Child(["--standby"], threads=1)
    try:
        os.kill(child.pid, signal.SIGSTOP)
        for number in range(20_000):
            child.tell({"until": number})
    finally:
        child.kill()


def test_killing_a_child_leaves_no_process():
    child = Child(["--standby"], threads=1)
    child.kill()
    eventually(lambda: not Path(f"/proc/{child.pid}").exists())
