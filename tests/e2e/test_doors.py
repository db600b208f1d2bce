"""Portkey's own client, and curl as AnyAPI's page shows it, each with a real job on the whole stack."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from portkey_ai import Portkey
from portkey_ai._vendor import openai as portkey_openai

from app.embedded.stack import Stack
from tests.e2e.conftest import SECONDS
from tests.services import eventually
from tests.trainer.conftest import chat
from tests.wire import anyapi
from tests.wire.door import filled
from tests.wire.likeness import unlike

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROWS = "".join(json.dumps(chat(place)) + "\n" for place in range(12)).encode()


@contextmanager
def portkey_of(stack: Stack, **options: Any) -> Iterator[Portkey]:
    made = Portkey(base_url=stack.base_url, api_key=stack.api_key, **options)
    try:
        yield made
    finally:
        made.close()
        made.openai_client.close()


@pytest.fixture(scope="module")
def portkey(stack) -> Iterator[Portkey]:
    with portkey_of(stack, trace_id="run-7", metadata={"team": "support"}) as made:
        yield made


@pytest.fixture(scope="module")
def file(portkey) -> str:
    return portkey.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune").id


def test_portkeys_client_gets_a_job_to_its_end(portkey, file):
    jobs = portkey.fine_tuning.jobs
    made = jobs.create(
        model="tiny", training_file=file, hyperparameters={"n_epochs": 1, "batch_size": 4}, metadata={"own": "1"}
    )
    assert made.metadata == {"team": "support", "x-portkey-trace-id": "run-7", "own": "1"}
    assert made.get_headers()["trace-id"] == "run-7"
    assert [job.id for job in jobs.list(metadata={"team": "support"}).data] == [made.id]
    eventually(lambda: jobs.retrieve(made.id).finished_at, seconds=SECONDS)
    ended = jobs.retrieve(made.id)
    assert (ended.status, ended.result_files[0][:5]) == ("succeeded", "file-")
    assert jobs.list_events(made.id, limit=1).data[0].message == "The job has successfully completed"
    assert [found.step_number for found in jobs.checkpoints.list(made.id).data] == [3]
    assert portkey.models.retrieve(ended.fine_tuned_model).id == ended.fine_tuned_model
    assert portkey.files.retrieve(file).purpose == "fine-tune"


def test_portkeys_client_pauses_resumes_and_cancels(portkey, file):
    job = portkey.fine_tuning.jobs.create(model="tiny", training_file=file, hyperparameters={"n_epochs": 50})
    eventually(lambda: portkey.fine_tuning.jobs.retrieve(job.id).status != "validating_files", seconds=SECONDS)
    portkey.post(f"/fine_tuning/jobs/{job.id}/pause")
    eventually(lambda: portkey.fine_tuning.jobs.retrieve(job.id).status == "paused", seconds=SECONDS)
    portkey.post(f"/fine_tuning/jobs/{job.id}/resume")
    assert portkey.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_portkeys_client_is_told_why_another_upstream_is_refused(stack, file):
    with portkey_of(stack, virtual_key="openai-9a1") as elsewhere:
        with pytest.raises(portkey_openai.BadRequestError, match="relays none yet") as caught:
            elsewhere.fine_tuning.jobs.create(model="tiny", training_file=file)
        assert caught.value.param == "x-portkey-virtual-key"
        assert elsewhere.fine_tuning.jobs.list().data


def curled(stack: Stack, example: str, **names: str) -> Any:
    """What curl is answered to one of the examples, which must be as recorded."""
    recorded = filled(anyapi.DOOR.example(example), {**names, "model": "tiny"})
    request = recorded["request"]
    headers = filled({**anyapi.DOOR.headers, **request.get("headers", {})}, {"key": stack.api_key})
    command = ["curl", "--silent", "--show-error", "--request", request["method"]]
    command += ["--url", stack.base_url.removesuffix("/v1") + request["path"]]
    command += [part for name, text in headers.items() for part in ("--header", f"{name}: {text}")]
    command += [part for name, text in request.get("form", {}).items() for part in ("--form", f"{name}={text}")]
    command += ["--data", json.dumps(request["body"])] if "body" in request else []
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert unlike(recorded["answer"]["body"], found) == []
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_as_anyapis_pages_show_it_gets_a_job_to_its_end(stack, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(ROWS)
    file = curled(stack, "upload", rows=str(rows))["id"]
    job = curled(stack, "create", file=file)["id"]
    assert curled(stack, "list")["data"][0]["id"] == job
    eventually(lambda: curled(stack, "retrieve", job=job)["finished_at"], seconds=SECONDS)
    assert curled(stack, "succeeded", job=job)["fine_tuned_model"]
