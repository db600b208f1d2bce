"""A preference job over the API, paused and killed on real workers."""

import base64

import pytest

from tests.e2e.conftest import messages, step, succeeded, trainers, until, upload, weights
from tests.trainer.conftest import chat, preference

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MIDDLE = 25


@pytest.fixture(scope="module")
def start(client):
    training = upload(client, [preference(place) for place in range(40)])
    validation = upload(client, [preference(place) for place in range(100, 104)])

    def create(**hyperparameters):
        return client.fine_tuning.jobs.create(
            model="tiny",
            training_file=training,
            validation_file=validation,
            seed=11,
            method={
                "type": "dpo",
                "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": 50, "batch_size": 4, **hyperparameters}},
            },
        )

    return create


@pytest.fixture(scope="module")
def undisturbed(client, start):
    return succeeded(client, start(learning_rate_multiplier=2))


def test_a_preference_job_ends_with_a_model_that_prefers_what_it_was_shown(client, undisturbed):
    job = undisturbed
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.1
    assert job.fine_tuned_model == f"ft:tiny:default::{job.id[-8:]}"
    told = [event for event in client.fine_tuning.jobs.list_events(job.id, limit=100) if event.type == "metrics"]
    newest = told[0].data
    assert newest["train_loss"] < 0.69
    assert newest["train_reward_margin"] > 0
    assert newest["full_valid_preference_accuracy"] > 0.5
    csv = base64.b64decode(client.files.content(job.result_files[0]).read()).decode().splitlines()
    assert len(csv) == 1 + 500
    assert "train_reward_margin" in csv[0]
    newest_checkpoint = next(iter(client.fine_tuning.jobs.checkpoints.list(job.id)))
    assert newest_checkpoint.metrics.full_valid_reward_margin == newest["full_valid_reward_margin"]


def test_a_paused_and_then_killed_preference_job_costs_no_bit(stack, client, start, undisturbed, tmp_path):
    job = start(learning_rate_multiplier=2)
    until(client, job, lambda job: job.status == "running" and step(client, job) >= MIDDLE)
    client.fine_tuning.jobs.pause(job.id)
    until(client, job, lambda job: job.status == "paused")
    paused_at = step(client, job)
    client.fine_tuning.jobs.resume(job.id)
    until(client, job, lambda job: job.status == "running" and step(client, job) > paused_at)
    for process in trainers(stack):
        process.kill()
    ended = succeeded(client, job)
    assert any(message.startswith("Worker lost") for message in messages(client, ended))
    first, second = (weights(stack, found.fine_tuned_model, tmp_path / found.id) for found in (undisturbed, ended))
    assert first["adapter_model.safetensors"] == second["adapter_model.safetensors"]


def test_equal_answers_fail_the_job_naming_the_line(client):
    rows = [preference(place) for place in range(12)]
    rows[4]["non_preferred_output"] = rows[4]["preferred_output"]
    job = client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, rows), method={"type": "dpo"})
    ended = until(client, job, lambda job: job.status == "failed")
    assert ended.error.code == "invalid_training_file"
    assert "Line 5, $.non_preferred_output" in ended.error.message


def test_chats_are_no_preferences(client):
    chats = upload(client, [chat(place) for place in range(12)])
    job = client.fine_tuning.jobs.create(model="tiny", training_file=chats, method={"type": "dpo"})
    ended = until(client, job, lambda job: job.status == "failed")
    assert 'ask for the method "supervised"' in ended.error.message
