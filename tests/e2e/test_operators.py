"""What an operator sees and does: Flower, a flushed Redis, a killed web, a restart of everything."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from app.embedded.stack import ROOT
from tests.e2e.conftest import client_of, new_stack, step, succeeded, until, upload, weights
from tests.services import eventually
from tests.trainer.conftest import chat

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def flower(stack, path: str, credentials: str | None) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{stack.environment['FLOWER_PORT']}{path}")
    if credentials:
        request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_flower_asks_for_credentials(stack):
    def refused() -> bool:
        try:
            flower(stack, "/api/tasks", None)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except urllib.error.URLError:
            return False
        raise AssertionError("Flower let a stranger in")

    eventually(refused)


def test_flower_shows_a_failed_job_as_a_failed_task_with_its_id(stack, client):
    eventually(lambda: flower_answers(stack))
    job = client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, [chat(1)] * 9))
    until(client, job, lambda job: job.status == "failed")

    def shown() -> bool:
        tasks = flower(stack, "/api/tasks", "admin:for-tests")
        return any(job.id in task["args"] and task["state"] == "FAILURE" for task in tasks.values())

    eventually(shown)


def flower_answers(stack) -> bool:
    try:
        flower(stack, "/api/tasks", "admin:for-tests")
    except urllib.error.URLError:
        return False
    return True


def test_a_flushed_redis_loses_no_job(stack, client, undisturbed):
    import redis

    jobs = [client.fine_tuning.jobs.create(model="tiny", training_file=undisturbed.training_file) for _ in range(3)]
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as broker:
        broker.flushall()
    for job in jobs:
        succeeded(client, job)


def test_killed_web_and_clock_come_back_and_lose_nothing(stack, client, undisturbed):
    job = client.fine_tuning.jobs.create(model="tiny", training_file=undisturbed.training_file)
    for name in ("web", "clock"):
        for pid in stack.pids(name):
            os.kill(pid, signal.SIGKILL)
    succeeded(client, job)


@pytest.mark.parametrize("name", ["web", "worker", "clock"])
def test_sigterm_to_a_process_and_all_it_runs_loses_nothing(name, stack, client, start, undisturbed, tmp_path):
    patient = client.with_options(max_retries=20)
    job = start()
    stopped = stack.pids(name)
    for pid in stopped:
        os.kill(pid, signal.SIGTERM)
    ended = succeeded(patient, job)
    assert ended.losses == 0
    eventually(lambda: stack.pids(name) and not set(stack.pids(name)) & set(stopped))
    digests = [
        weights(stack, found.fine_tuned_model, tmp_path / found.id)["adapter_model.safetensors"]
        for found in (undisturbed, ended)
    ]
    assert digests[0] == digests[1]


def test_a_stop_of_everything_and_a_new_start_loses_nothing(folder, tmp_path):
    with new_stack(folder, "second") as first:
        client = client_of(first)
        rows = upload(client, [chat(place) for place in range(40)])
        asked = {"n_epochs": 30, "batch_size": 4}
        whole = client.fine_tuning.jobs.create(model="tiny", training_file=rows, seed=3, hyperparameters=asked)
        succeeded(client, whole)
        job = client.fine_tuning.jobs.create(model="tiny", training_file=rows, seed=3, hyperparameters=asked)
        until(client, job, lambda job: job.status == "running" and step(client, job) >= 60)
    with new_stack(folder, "second") as second:
        client = client_of(second)
        ended = succeeded(client, job)
        whole = client.fine_tuning.jobs.retrieve(whole.id)
        assert ended.losses == 0
        digests = [
            weights(second, found.fine_tuned_model, tmp_path / found.id)["adapter_model.safetensors"]
            for found in (whole, ended)
        ]
    assert digests[0] == digests[1]


def test_the_web_and_the_workers_import_no_torch():
    for program in ("import app.api", "import workers.celery", "import workers.clock"):
        code = f"{program}; import sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
        environment = {**os.environ, "REDIS_URL": "redis://127.0.0.1:1"}
        assert (
            subprocess.run([sys.executable, "-c", code], env=environment, cwd=Path(ROOT), check=False).returncode == 0
        )
