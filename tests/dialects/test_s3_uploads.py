"""Files over HTTP when storage is a bucket on a real HTTP server, which does not check signatures."""

import socket
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

import fireworks
import openai
import pytest
from fireworks.types import PeftDetailsParam

from app.embedded.processes import free_port
from tests.dialects.own_weights import FILES
from tests.dialects.server import Server, serving
from tests.dialects.test_fireworks_client import get, put
from tests.dialects.test_uploads import HEAD, MEGABYTE, headers, length, pieces, post
from tests.services import eventually


@pytest.fixture(scope="module")
def bucket(s3) -> str:
    return s3.bucket()


@pytest.fixture(scope="module")
def server(app, s3, bucket, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, MAX_FILE_MB="130", STORAGE_URL=f"s3://{bucket}/{uuid.uuid4().hex}", **s3.environment) as found:
        yield found


def ready(server: Server) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_file_of_120_mb_passes_through_without_staying_in_memory(server, ann, s3, bucket):
    post(server, ann, pieces(20), length(20))
    before = server.peak_memory_kb()
    status, answer = post(server, ann, pieces(120), length(120))
    assert (status, answer["bytes"]) == (200, 120 * MEGABYTE)
    assert server.peak_memory_kb() - before < 40_000
    assert any(key.endswith(f"/files/{answer['id']}") for key in s3.keys(bucket))


def test_an_uploaded_file_comes_back_byte_for_byte(server, ann):
    _, answer = post(server, ann, pieces(20), length(20))
    request = urllib.request.Request(f"{server.url}/v1/files/{answer['id']}/content", headers=ann.headers)
    with urllib.request.urlopen(request, timeout=60) as content:
        assert content.read() == (b"x" * 1023 + b"\n") * 1024 * 20


def test_an_upload_that_stops_in_the_middle_leaves_nothing(server, ann, s3, bucket):
    before = s3.keys(bucket)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        given = headers(ann) | {"Content-Length": str(length(100))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        connection.sendall(f"POST /v1/files HTTP/1.1\r\nHost: t\r\n{lines}\r\n".encode())
        connection.sendall(HEAD + b"x" * (20 * MEGABYTE))
        eventually(lambda: s3.uploads(bucket))
    eventually(lambda: not s3.uploads(bucket))
    assert s3.keys(bucket) == before


def test_a_file_over_the_limit_leaves_nothing(server, ann, s3, bucket):
    before = s3.keys(bucket)
    status, answer = post(server, ann, pieces(140), None)
    assert status == 413
    assert "130 MB" in answer["error"]["message"]
    eventually(lambda: not s3.uploads(bucket))
    assert s3.keys(bucket) == before


def test_a_bucket_that_answers_is_ready(server):
    status, said = ready(server)
    assert status == 200
    assert '"storage":"ok"' in said.replace(" ", "")


@pytest.mark.parametrize("away", ["server", "bucket"])
def test_storage_that_is_away_is_not_ready_and_takes_no_file(app, ann, s3, tmp_path, away):
    environment = {**s3.environment, "STORAGE_URL": "s3://no-such-bucket/x"}
    if away == "server":
        environment["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{free_port()}"
    with serving(tmp_path, **environment) as server:
        status, said = ready(server)
        assert status == 503
        assert ("NoSuchBucket" if away == "bucket" else "EndpointConnectionError") in said
        assert "127.0.0.1" not in said
        status, answer = post(server, ann, pieces(1), length(1))
        assert (status, answer["error"]["type"]) == (503, "server_error")


def test_parts_of_a_bucket_are_joined_in_their_order(server, ann, s3, bucket):
    pieces = [bytes([number]) * (9 * MEGABYTE) for number in range(3)]
    with openai.OpenAI(api_key=ann.secret, base_url=f"{server.url}/v1", max_retries=0) as client:
        upload = client.uploads.create(bytes=27 * MEGABYTE, filename="a.bin", mime_type="x", purpose="assistants")
        parts = [client.uploads.parts.create(upload.id, data=piece).id for piece in reversed(pieces)]
        before = server.peak_memory_kb()
        done = client.uploads.complete(upload.id, part_ids=parts[::-1])
        assert server.peak_memory_kb() - before < 40_000
        assert client.files.content(done.file.id).content == b"".join(pieces)
    assert sum("/uploads/" in key for key in s3.keys(bucket)) == 3


def test_a_dataset_of_shards_goes_into_the_bucket_and_out_of_it(server, ann):
    with fireworks.Fireworks(api_key=ann.secret, account_id="ann", base_url=server.url, max_retries=0) as client:
        client.datasets.create(dataset_id="d", dataset={})
        sizes = {"a.jsonl": str(9 * MEGABYTE), "b.jsonl": "2"}
        urls = client.datasets.get_upload_endpoint("d", filename_to_size=sizes).filename_to_signed_urls or {}
        assert put(urls["a.jsonl"], (b"x" * MEGABYTE for _ in range(9))) == 200
        assert put(urls["b.jsonl"], b"1\n") == put(urls["b.jsonl"], b"2\n") == 200
        client.datasets.validate_upload("d", body={})
        [url] = (client.datasets.get_download_endpoint("d").filename_to_signed_urls or {}).values()
        assert get(url) == b"x" * 9 * MEGABYTE + b"\n2\n"


def test_weights_are_gathered_in_the_bucket_and_looked_at_there(server, ann, s3, bucket):
    with fireworks.Fireworks(api_key=ann.secret, account_id="ann", base_url=server.url, max_retries=0) as client:
        details: PeftDetailsParam = {"base_model": "gpt-4o-mini", "r": 4, "target_modules": []}
        client.models.create(model_id="m", model={"peft_details": details})
        sizes = dict.fromkeys(FILES, "0")
        urls = client.models.get_upload_endpoint("m", filename_to_size=sizes).filename_to_signed_urls or {}
        assert [put(urls[name], content) for name, content in FILES.items()] == [200, 200]
        client.models.validate_upload("m")
        client.models.prepare("m", precision="BF16")
        found = client.models.get_download_endpoint("m").filename_to_signed_urls or {}
        assert {name: get(url) for name, url in found.items()} == FILES
    assert sum(key.endswith("/.tree") and "/weights/" in key for key in s3.keys(bucket)) == 1
