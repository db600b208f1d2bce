"""The main job through the official client, disturbed in every way an operator and a user can."""

import base64
import json
import os
import signal
import subprocess
import sys

import openai
import pytest

from app.embedded.stack import ROOT
from tests.e2e.conftest import messages, pool_child, step, succeeded, trainers, until, upload, weights
from tests.services import eventually, is_gone
from tests.trainer.conftest import chat

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MIDDLE = 60


def in_the_middle(client, job):
    return until(client, job, lambda job: job.status == "running" and step(client, job) >= MIDDLE)


def digest(stack, job, tmp_path):
    return weights(stack, job.fine_tuned_model, tmp_path / job.id)["adapter_model.safetensors"]


def test_a_model_comes_out_with_results_checkpoints_and_a_name(stack, client, undisturbed):
    job = undisturbed
    assert job.fine_tuned_model == f"ft:tiny:default::{job.id[-8:]}"
    assert job.trained_tokens
    csv = base64.b64decode(client.files.content(job.result_files[0]).read()).decode().splitlines()
    assert len(csv) == 1 + 300
    kept = [found.step_number for found in client.fine_tuning.jobs.checkpoints.list(job.id)]
    assert kept[:3] == [300, 290, 280]
    assert len(kept) <= 4  # an older one may be the best
    assert client.models.retrieve(job.fine_tuned_model).owned_by == "default"
    assert messages(client, job)[0] == "The job has successfully completed"


def test_the_archive_holds_what_serving_engines_read(stack, undisturbed, tmp_path):
    names = set(weights(stack, undisturbed.fine_tuned_model, tmp_path))
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names


def test_a_checkpoint_can_be_downloaded_too(stack, client, undisturbed, tmp_path):
    newest = next(iter(client.fine_tuning.jobs.checkpoints.list(undisturbed.id)))
    assert "adapter_model.safetensors" in weights(stack, newest.fine_tuned_model_checkpoint, tmp_path)


def test_an_alias_of_the_catalogue_trains_its_model(client, start, undisturbed):
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=undisturbed.training_file)
    assert job.model == "gpt-4o-mini-2024-07-18"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_a_tuned_model_is_tuned_further_from_where_it_is(client, start, undisturbed):
    job = succeeded(client, start(model=undisturbed.fine_tuned_model, n_epochs=1, learning_rate=1e-6))
    assert (job.model, job.parent_model) == (undisturbed.fine_tuned_model,) * 2
    assert job.fine_tuned_model == f"ft:tiny:default::{job.id[-8:]}"
    assert client.models.retrieve(job.fine_tuned_model).parent_model == undisturbed.fine_tuned_model
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data[0].metrics.full_valid_loss == pytest.approx(
        client.fine_tuning.jobs.checkpoints.list(undisturbed.id).data[0].metrics.full_valid_loss, abs=0.01
    )
    [nearest] = json.loads(client.files.content(job.manifest_file).read())["parents"]
    before = json.loads(client.files.content(undisturbed.manifest_file).read())
    file = "adapter_model.safetensors"
    assert nearest["sha256"] == {file: before["files"][file]["sha256"]}
    with pytest.raises(openai.BadRequestError) as refused:
        start(model=undisturbed.fine_tuned_model, lora_rank=2)
    assert refused.value.param == "method.supervised.hyperparameters.lora_rank"


def test_a_pause_frees_the_process_and_resume_costs_no_bit(stack, client, start, undisturbed, tmp_path):
    job = in_the_middle(client, start())
    training = trainers(stack)
    client.fine_tuning.jobs.pause(job.id)
    until(client, job, lambda job: job.status == "paused")
    assert all(is_gone(process.pid) for process in training)
    client.fine_tuning.jobs.resume(job.id)
    ended = succeeded(client, job)
    assert digest(stack, ended, tmp_path) == digest(stack, undisturbed, tmp_path)


def test_a_killed_trainer_costs_no_bit(stack, client, start, undisturbed, tmp_path):
    job = in_the_middle(client, start())
    for process in trainers(stack):
        process.kill()
    ended = succeeded(client, job)
    assert any(message.startswith("Worker lost") for message in messages_of_all(client, ended))
    assert digest(stack, ended, tmp_path) == digest(stack, undisturbed, tmp_path)


def messages_of_all(client, job):
    return [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]


def test_a_killed_supervisor_takes_its_trainer_along_and_costs_no_bit(stack, client, start, undisturbed, tmp_path):
    job = in_the_middle(client, start())
    training = trainers(stack)
    pool_child(stack).kill()
    eventually(lambda: all(is_gone(process.pid) for process in training))
    ended = succeeded(client, job)
    assert digest(stack, ended, tmp_path) == digest(stack, undisturbed, tmp_path)


def test_a_stopped_supervisor_leaves_no_trainer_running(stack, client, start, undisturbed, tmp_path):
    job = in_the_middle(client, start())
    training, supervisor = trainers(stack), pool_child(stack)
    supervisor.suspend()
    try:
        eventually(lambda: all(is_gone(process.pid) for process in training))
        until(client, job, lambda job: job.status == "queued")
    finally:
        supervisor.resume()
    ended = succeeded(client, job)
    assert digest(stack, ended, tmp_path) == digest(stack, undisturbed, tmp_path)


def test_sigterm_to_the_worker_and_all_it_runs_is_no_crash(stack, client, start, undisturbed, tmp_path):
    job = in_the_middle(client, start())
    for pid in stack.pids("trainer"):
        os.kill(pid, signal.SIGTERM)
    ended = succeeded(client, job)
    assert not any(message.startswith("Worker lost") for message in messages_of_all(client, ended))
    assert digest(stack, ended, tmp_path) == digest(stack, undisturbed, tmp_path)


def test_a_cancelled_job_stops_and_leaves_no_model(stack, client, start, undisturbed):
    job = in_the_middle(client, start())
    training = trainers(stack)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
    eventually(lambda: all(is_gone(process.pid) for process in training))
    eventually(lambda: "The job was cancelled" in messages(client, job))
    assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None


def test_full_weights_resume_bit_for_bit_too(stack, client, start, tmp_path):
    whole = succeeded(client, start(training_type="full"))
    job = in_the_middle(client, start(training_type="full"))
    for process in trainers(stack):
        process.kill()
    ended = succeeded(client, job)
    first, second = (weights(stack, found.fine_tuned_model, tmp_path / found.id) for found in (whole, ended))
    assert first["model.safetensors"] == second["model.safetensors"]


def test_bad_rows_fail_the_job_with_openais_code(client):
    job = client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, [chat(1)] * 9))
    ended = until(client, job, lambda job: job.status == "failed")
    assert ended.error.code == "invalid_n_examples"
    assert ended.error.param == "training_file"


def test_a_job_that_an_operator_preempts_goes_on_by_itself_and_costs_no_bit(
    stack, client, start, undisturbed, tmp_path
):
    job = in_the_middle(client, start())
    command = [sys.executable, "-m", "app", "jobs", "preempt", job.id]
    subprocess.run(command, env=stack.environment, cwd=ROOT, check=True, capture_output=True)
    ended = succeeded(client, job)
    said = messages_of_all(client, ended)
    assert any(message.startswith("Made way for more urgent work at step") for message in said)
    assert not any("paused" in message for message in said)
    assert digest(stack, ended, tmp_path) == digest(stack, undisturbed, tmp_path)
