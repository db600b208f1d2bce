"""Fireworks' own client with a real job on the whole stack, from rows in a shard to the files of the model."""

import hashlib
import json
import urllib.request
from collections.abc import Iterator

import pytest
from fireworks import Fireworks
from fireworks.types import PeftDetailsParam
from openai import OpenAI

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
    _put(url, ROWS)
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
    files = {name: _get(url) for name, url in urls.items()}
    assert json.loads(files["adapter_config.json"])["r"] == 4
    goes_on_from_its_own(fireworks, client, files)


def goes_on_from_its_own(fireworks: Fireworks, client: OpenAI, files: dict[str, bytes]) -> None:
    """Bring an adapter as if it were from elsewhere, and train on from it."""
    details: PeftDetailsParam = {"base_model": "tiny", "r": 0, "target_modules": []}
    fireworks.models.create(model_id="brought", model={"kind": "HF_PEFT_ADDON", "peft_details": details})
    sizes = {name: str(len(content)) for name, content in files.items()}
    urls = fireworks.models.get_upload_endpoint("brought", filename_to_size=sizes).filename_to_signed_urls or {}
    for name, content in files.items():
        _put(urls[name], content)
    [told] = fireworks.models.validate_upload("brought").warnings or []
    assert "Kept and not used in training" in told
    fireworks.models.prepare("brought", precision="PRECISION_UNSPECIFIED")
    model = fireworks.models.get("brought")
    assert (model.state, model.kind, model.peft_details and model.peft_details.r) == ("READY", "HF_PEFT_ADDON", 4)
    [listed] = [each.id for each in client.models.list() if ":brought:" in each.id]
    jobs = fireworks.supervised_fine_tuning_jobs
    jobs.create(
        supervised_fine_tuning_job_id="on", dataset="tickets", warm_start_from="brought", epochs=1, learning_rate=0.01
    )
    eventually(lambda: jobs.get("on").state in ENDED, seconds=SECONDS)
    ended = jobs.get("on")
    assert ended.state == "JOB_STATE_COMPLETED", ended.status
    [job] = [each for each in client.fine_tuning.jobs.list() if getattr(each, "parent_model", None) == listed]
    manifest = json.loads(client.files.content(getattr(job, "manifest_file")).read())  # noqa: B009 (an extra field)
    weights = "adapter_model.safetensors"
    hashes = {weights: hashlib.sha256(files[weights]).hexdigest()}
    assert manifest["parents"] == [{"model": listed, "job_id": None, "sha256": hashes}]
    assert manifest["files"][weights]["sha256"] != hashes[weights]


def _put(url: str, content: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, content, method="PUT")) as answer:
        assert answer.status == 200


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        content: bytes = answer.read()
        return content


def _file(fireworks: Fireworks) -> str:
    """The file that the dataset is: the one whose signed URL leads to it."""
    [url] = (fireworks.datasets.get_download_endpoint("tickets").filename_to_signed_urls or {}).values()
    return url.partition("/files/")[2].partition("?")[0]
