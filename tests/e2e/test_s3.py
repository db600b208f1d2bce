"""The stack with its storage on a real HTTP server that speaks S3, which does not check signatures."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from app.embedded.stack import Stack, as_shipped
from tests.e2e.conftest import SETTINGS, client_of, messages, step, succeeded, trainers, until, upload, weights
from tests.s3 import Server
from tests.services import eventually
from tests.trainer.conftest import chat

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def bucket(s3: Server) -> str:
    return s3.bucket()


@pytest.fixture(scope="module")
def on_s3(folder: Path, s3: Server, bucket: str) -> Iterator[Stack]:
    settings = {**as_shipped(), **SETTINGS, **s3.environment, "MODELS_FILE": str(folder / "models.toml")}
    settings["STORAGE_URL"] = f"s3://{bucket}/service"
    with Stack(folder / "on-s3", settings=settings, durable=False) as running:
        yield running


@pytest.fixture(scope="module")
def on_s3_client(on_s3: Stack) -> OpenAI:
    return client_of(on_s3)


def test_a_killed_trainer_costs_no_bit_and_nothing_of_it_stays_in_the_bucket(on_s3, on_s3_client, s3, bucket, tmp_path):
    client = on_s3_client
    rows = upload(client, [chat(place) for place in range(40)])
    asked = {"n_epochs": 30, "batch_size": 4}

    def create():
        return client.fine_tuning.jobs.create(model="tiny", training_file=rows, seed=3, hyperparameters=asked)

    undisturbed = succeeded(client, create())
    job = create()
    until(client, job, lambda job: job.status == "running" and step(client, job) >= 60)
    for process in trainers(on_s3):
        process.kill()
    ended = succeeded(client, job)
    told = messages(client, job)
    for beginning in ("Worker lost", "Resumed from the checkpoint at step"):
        assert any(message.startswith(beginning) for message in told)
    first, second = (weights(on_s3, found.fine_tuned_model, tmp_path / found.id) for found in (undisturbed, ended))
    assert first[ADAPTER] == second[ADAPTER]

    shown = {key for key in s3.keys(bucket) if key.startswith(f"service/models/default/{ended.fine_tuned_model}/")}
    assert any(key.endswith(ADAPTER) for key in shown)
    epochs = {f"/step-{found.step_number}/" for found in client.fine_tuning.jobs.checkpoints.list(job.id)}

    def no_resume_points() -> bool:
        steps = [key for key in s3.keys(bucket) if key.startswith(f"service/jobs/{job.id}/") and "/step-" in key]
        return all(any(epoch in key for epoch in epochs) for key in steps)

    eventually(no_resume_points)
    assert not (on_s3.data_dir / "storage").exists()


def test_a_deleted_model_and_file_leave_the_bucket(on_s3, on_s3_client, s3, bucket):
    client = on_s3_client
    rows = upload(client, [chat(place) for place in range(12)])
    job = succeeded(client, client.fine_tuning.jobs.create(model="tiny", training_file=rows))
    client.models.delete(job.fine_tuned_model)
    client.files.delete(rows)
    gone = (f"service/files/{rows}", f"service/models/default/{job.fine_tuned_model}/", f"/{job.id}/a2/model/")
    eventually(lambda: not any(part in key for key in s3.keys(bucket) for part in gone))


def test_the_command_to_serve_a_model_fetches_it_from_the_bucket_first(on_s3, on_s3_client, bucket, tmp_path):
    client = on_s3_client
    rows = upload(client, [chat(place) for place in range(12)])
    job = succeeded(client, client.fine_tuning.jobs.create(model="tiny", training_file=rows))
    body = json.dumps({"model": job.fine_tuned_model, "messages": []}).encode()
    headers = {"Authorization": f"Bearer {on_s3.api_key}", "Content-Type": "application/json"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{on_s3.base_url}/chat/completions", body, headers), timeout=30)
    command = json.load(refused.value)["error"]["message"].split("To serve it: ")[1]
    fetch, serve = command.split(" && ")
    source, target = fetch.removeprefix("aws s3 sync ").split(" ")
    assert source == f"s3://{bucket}/service/{target}"
    assert serve.startswith("vllm serve ")
    assert serve.endswith(f"={target}")
