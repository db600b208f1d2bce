"""The official client, strict about every answer, against the application as production runs it."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import fireworks
import pytest

from tests.dialects.conftest import ROWS
from tests.dialects.fireworks import Account
from tests.dialects.server import Server, serving
from tests.dialects.test_models import WEIGHTS, tuned

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server(app, tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), threads=2, SILENCE_SECONDS="2") as running_server:
        yield running_server


@pytest.fixture
def client(server, ann) -> Iterator[fireworks.Fireworks]:
    with fireworks.Fireworks(
        api_key=ann.secret, account_id="ann", base_url=server.url, max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


def put(url: str, content: bytes | Iterator[bytes], **headers: str) -> int:
    """Send bytes without credentials; those of an iterator in chunks of no announced length. The HTTP status."""
    wanted = urllib.request.Request(url, content, {"Content-Type": "application/octet-stream", **headers}, method="PUT")
    try:
        with urllib.request.urlopen(wanted) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        content: bytes = answer.read()
        return content


def test_a_dataset_comes_in_shards_and_is_read_renamed_and_deleted(client):
    made = client.datasets.create(dataset_id="d", dataset={"display_name": "D", "user_uploaded": {}})
    assert (made.name, made.state) == ("accounts/ann/datasets/d", "UPLOADING")
    sizes = {"a.jsonl": str(len(ROWS)), "b.jsonl": "3"}
    urls = client.datasets.get_upload_endpoint("d", filename_to_size=sizes).filename_to_signed_urls
    assert urls is not None
    assert put(urls["a.jsonl"], ROWS) == 200
    assert put(urls["b.jsonl"], iter([b"{", b"}\n"]), **{"x-goog-content-length-range": "3,3"}) == 200
    client.datasets.validate_upload("d", body={})
    ready = client.datasets.get("d")
    assert (ready.state, ready.example_count, ready.display_name) == ("READY", "11", "D")
    assert client.datasets.update("d", display_name="E").display_name == "E"
    [url] = (client.datasets.get_download_endpoint("d").filename_to_signed_urls or {}).values()
    assert get(url) == ROWS + b"{}\n"
    client.datasets.delete("d")
    with pytest.raises(fireworks.NotFoundError):
        client.datasets.get("d")


def test_all_pages_are_walked_through(client):
    for number in range(5):
        client.datasets.create(dataset_id=f"d{number}", dataset={})
    found = [each.name for each in client.datasets.list(page_size=2, order_by="name desc", filter="NOT d3")]
    assert found == [f"accounts/ann/datasets/d{number}" for number in (4, 2, 1, 0)]


def test_rows_are_uploaded_at_once(client):
    client.datasets.create(dataset_id="d", dataset={})
    assert client.datasets.upload("d", file=("rows.jsonl", ROWS)).bytes == len(ROWS)
    assert client.datasets.get("d").state == "READY"


def test_refusals_are_the_clients_own_exceptions(client):
    client.datasets.create(dataset_id="d", dataset={})
    with pytest.raises(fireworks.ConflictError):
        client.datasets.create(dataset_id="d", dataset={})
    with pytest.raises(fireworks.BadRequestError, match="no field 'x'"):
        client.datasets.list(filter="x = 1")
    with pytest.raises(fireworks.NotFoundError):
        client.datasets.get("d", account_id="bob")
    with pytest.raises(fireworks.BadRequestError, match="kind EMBEDDING_MODEL cannot be gone on from"):
        client.models.create(model_id="m", model={"kind": "EMBEDDING_MODEL"})


def test_models_are_listed_described_and_downloaded(client, ann):
    made = tuned(ann).job_id
    assert [model.name for model in client.models.list()] == [f"accounts/ann/models/{made}"]
    assert client.models.update(made, description="Of tickets").description == "Of tickets"
    assert client.models.validate_upload(made).warnings == []
    urls = client.models.get_download_endpoint(made).filename_to_signed_urls
    assert {name: get(url) for name, url in (urls or {}).items()} == WEIGHTS
    client.models.delete(made)
    assert list(client.models.list()) == []


def test_jobs_are_created_listed_resumed_cancelled_and_deleted(client, ann):
    Account(ann).ready("d")
    made = client.supervised_fine_tuning_jobs.create(
        dataset="d", base_model="gpt-4o-mini", supervised_fine_tuning_job_id="s", epochs=1, is_turbo=True
    )
    assert (made.name, made.epochs) == ("accounts/ann/supervisedFineTuningJobs/s", 1)
    other = client.dpo_jobs.create(
        dataset="d", dpo_job_id="p", training_config={"base_model": "gpt-4o-mini"}, loss_config={"dpo": {"beta": 0.2}}
    )
    assert other.loss_config is not None
    assert other.loss_config.dpo is not None
    assert other.loss_config.dpo.beta == 0.2
    for jobs, name in ((client.supervised_fine_tuning_jobs, "s"), (client.dpo_jobs, "p")):
        assert [job.name for job in jobs.list(page_size=1, filter="state = JOB_STATE_VALIDATING")] == [
            jobs.get(name).name
        ]
        assert jobs.resume(name, body={}).state == "JOB_STATE_VALIDATING"
        jobs.cancel(name, body={})
        assert jobs.get(name, read_mask="state").state == "JOB_STATE_CANCELLED"
        jobs.delete(name)
        with pytest.raises(fireworks.NotFoundError):
            jobs.get(name)
    with pytest.raises(fireworks.InternalServerError, match="by reinforcement"):
        client.reinforcement_fine_tuning_jobs.create(dataset="d", evaluator="e")


def test_whoever_falls_silent_loses_the_connection_and_holds_no_thread(server, client):
    client.datasets.create(dataset_id="d", dataset={})
    asked = client.datasets.get_upload_endpoint("d", filename_to_size={"a.jsonl": "9"})
    [url] = (asked.filename_to_signed_urls or {}).values()
    path = url.removeprefix(server.url)
    with ExitStack() as held:
        for _ in range(3):  # more than the server has threads
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connection.sendall(f"PUT {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n1\n".encode())
        assert client.datasets.get("d").state == "UPLOADING"
    assert put(url, b"123456789") == 200


def test_a_large_shard_is_never_in_memory_and_one_that_is_too_long_is_cut_off(server, client):
    client.datasets.create(dataset_id="d", dataset={})
    sizes = {"a.jsonl": str(96 * MEGABYTE)}
    [url] = (client.datasets.get_upload_endpoint("d", filename_to_size=sizes).filename_to_signed_urls or {}).values()
    before = server.peak_memory_kb()
    assert put(url, (b" " * MEGABYTE for _ in range(96))) == 200
    assert put(url, (b" " * MEGABYTE for _ in range(95))) == 403
    client.datasets.validate_upload("d", body={})
    [url] = (client.datasets.get_download_endpoint("d").filename_to_signed_urls or {}).values()
    with urllib.request.urlopen(url) as answer:
        assert sum(len(chunk) for chunk in iter(lambda: answer.read(MEGABYTE), b"")) == 96 * MEGABYTE
    assert server.peak_memory_kb() - before < 32 * 1024
