"""Fireworks' own client with a real job on the whole stack, from rows in a shard to the files of the model."""

import json
import urllib.request
from collections.abc import Iterator

import pytest
from fireworks import Fireworks

from tests.e2e.conftest import SECONDS
from tests.services import eventually
from tests.trainer.conftest import chat

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROWS = "".join(json.dumps(chat(place)) + "\n" for place in range(20)).encode()
ENDED = ("JOB_STATE_COMPLETED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


@pytest.fixture
def fireworks(stack) -> Iterator[Fireworks]:
    server = stack.base_url.removesuffix("/v1")
    with Fireworks(
        base_url=server, api_key=stack.api_key, account_id="default", _strict_response_validation=True
    ) as made:
        yield made


def test_fireworks_client_gets_a_job_to_its_end_and_the_model_home(fireworks, client):
    fireworks.datasets.create(dataset_id="tickets", dataset={"display_name": "Tickets"})
    sizes = {"rows.jsonl": str(len(ROWS))}
    [url] = (
        fireworks.datasets.get_upload_endpoint("tickets", filename_to_size=sizes).filename_to_signed_urls or {}
    ).values()
    with urllib.request.urlopen(urllib.request.Request(url, ROWS, method="PUT")) as answer:
        assert answer.status == 200
    fireworks.datasets.validate_upload("tickets", body={})
    jobs = fireworks.supervised_fine_tuning_jobs
    made = jobs.create(
        supervised_fine_tuning_job_id="triage-1",
        dataset="tickets",
        base_model="accounts/fireworks/models/tiny",
        output_model="triage",
        epochs=2,
        learning_rate=0.01,
        lora_rank=4,
        batch_size_samples=2,
        gradient_accumulation_steps=2,
        eval_auto_carveout=True,
        early_stop=True,
        is_turbo=True,
    )
    assert made.state == "JOB_STATE_VALIDATING"
    eventually(lambda: jobs.get("triage-1").state in ENDED, seconds=SECONDS)
    ended = jobs.get("triage-1")
    assert ended.state == "JOB_STATE_COMPLETED", ended.status
    assert (ended.epochs, ended.lora_rank, ended.batch_size_samples, ended.eval_auto_carveout) == (2, 4, 4, True)
    assert ended.status is not None
    assert "Not used here: isTurbo." in (ended.status.message or "")
    assert [job.name for job in jobs.list(filter='outputModel = "triage"')] == [ended.name]
    [theirs] = [job for job in client.fine_tuning.jobs.list() if job.training_file == _file(fireworks)]
    assert theirs.status == "succeeded"
    jobs.delete("triage-1")
    model = fireworks.models.get("triage")
    assert model.peft_details is not None
    assert model.peft_details.r == 4
    urls = fireworks.models.get_download_endpoint("triage").filename_to_signed_urls or {}
    with urllib.request.urlopen(urls["adapter_config.json"]) as answer:
        assert json.load(answer)["r"] == 4


def _file(fireworks: Fireworks) -> str:
    """The file that the dataset is: the one whose signed URL leads to it."""
    [url] = (fireworks.datasets.get_download_endpoint("tickets").filename_to_signed_urls or {}).values()
    return url.partition("/files/")[2].partition("?")[0]
