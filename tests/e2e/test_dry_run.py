"""A dry run on the whole stack: a worker makes the report, and a job that has ended makes the estimate."""

from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.e2e.conftest import succeeded, until, upload
from tests.services import eventually
from tests.trainer.conftest import chat

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def dry(client: OpenAI, file: str) -> Any:
    return client.fine_tuning.jobs.create(model="tiny", training_file=file, extra_body={"dry_run": True})


def test_what_a_dry_run_says_is_what_the_job_becomes(client, start):
    done = succeeded(client, start(n_epochs=1))
    file = upload(client, [chat(place) for place in range(40)])
    before = len(client.fine_tuning.jobs.list().data)
    eventually(lambda: dry(client, file).report)
    told = dry(client, file)
    assert told.error is None
    assert told.duration_seconds["low"] < told.duration_seconds["expected"] < told.duration_seconds["high"]
    assert told.memory["needed_bytes"] > 0
    assert [trainer["device"] for trainer in told.memory["trainers"]] == ["cpu"]
    assert all(trainer["fits"] for trainer in told.memory["trainers"])
    assert told.start["basis"] == "a trainer is free"
    assert len(client.fine_tuning.jobs.list().data) == before
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file)
    job = until(client, job, lambda job: job.status in ("running", "succeeded"))
    assert job.total_steps == told.total_steps
    assert job.hyperparameters.n_epochs == told.hyperparameters.n_epochs
    job = succeeded(client, job)
    assert job.trained_tokens == told.billable_tokens
    assert done.id != job.id


def test_a_file_alone_is_looked_at_by_a_worker(client):
    file = upload(client, [chat(place) for place in range(9)])

    def report() -> Any:
        return client.get(f"/files/{file}/report?model=tiny", cast_to=httpx2.Response).json()

    eventually(lambda: report()["report"])
    assert report()["error"]["code"] == "invalid_n_examples"
