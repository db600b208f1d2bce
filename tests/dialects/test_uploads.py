"""Uploads over a real connection: large ones, ones that are too large, and ones that stop in the middle."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.dialects.conftest import JOBS, KIND, form, stored
from tests.dialects.server import Server, serving

MEGABYTE = 1 << 20
HEAD, TAIL = form(b"|", "big.jsonl", purpose="fine-tune").split(b"|")


@pytest.fixture(scope="module")
def server(app, tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), MAX_FILE_MB="310") as running:
        yield running


def headers(ann, length: int | None = None) -> dict[str, str]:
    given = {"Authorization": f"Bearer {ann.secret}", "Content-Type": KIND}
    return given | ({} if length is None else {"Content-Length": str(length)})


def post(server, ann, body: Iterator[bytes], length: int | None) -> tuple[int, dict]:
    """Send a body piece by piece; without a length it goes in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered already, and not read on
        connection.request("POST", "/v1/files", body, headers(ann, length), encode_chunked=length is None)
    try:
        answer = connection.getresponse()
        assert answer.headers["x-request-id"]
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def pieces(megabytes: int) -> Iterator[bytes]:
    yield HEAD
    piece = (b"x" * 1023 + b"\n") * 1024
    for _ in range(megabytes):
        yield piece
    yield TAIL


def length(megabytes: int) -> int:
    return len(HEAD) + megabytes * MEGABYTE + len(TAIL)


def test_a_file_of_300_mb_passes_through_without_staying_in_memory(server, ann, storage):
    post(server, ann, pieces(1), length(1))
    before = server.peak_memory_kb()
    status, answer = post(server, ann, pieces(300), length(300))
    assert status == 200
    assert answer["bytes"] == 300 * MEGABYTE
    assert (storage / "files" / answer["id"]).stat().st_size == 300 * MEGABYTE
    assert server.peak_memory_kb() - before < 20_000
    (storage / "files" / answer["id"]).unlink()


def test_an_upload_in_chunks_without_a_length_is_taken(server, ann):
    status, answer = post(server, ann, pieces(3), None)
    assert status == 200
    assert answer["bytes"] == 3 * MEGABYTE


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_over_the_limit_is_refused_in_the_dialects_shape_and_leaves_nothing(server, ann, storage, announced):
    before = stored(storage)
    status, answer = post(server, ann, pieces(330), length(330) if announced else None)
    assert status == 413
    assert "310 MB" in answer["error"]["message"]
    assert stored(storage) == before


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_stops_in_the_middle_leaves_nothing(server, ann, storage, chunked):
    before = stored(storage)
    given = headers(ann) | ({"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length(30))})
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        connection.sendall(f"POST /v1/files HTTP/1.1\r\nHost: t\r\n{lines}\r\n".encode())
        part = HEAD + b"x" * (5 * MEGABYTE)
        connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n" if chunked else part)
        wait_until(lambda: len(stored(storage)) == len(before) + 1)
    wait_until(lambda: stored(storage) == before)
    assert ann.get("/v1/files").json["data"] == []


@pytest.mark.parametrize(("url", "kind"), [("/v1/files", KIND), (JOBS, "application/json")])
def test_chunks_that_are_none_are_a_bad_request(server, ann, url, kind):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    given = {**headers(ann), "Content-Type": kind, "Transfer-Encoding": "chunked"}
    connection.request("POST", url, b"zz\r\n{}\r\n", given)
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.loads(answer.read())["error"]["type"] == "invalid_request_error"
    connection.close()


def test_the_server_answers_on_after_all_that(server, ann):
    assert post(server, ann, pieces(1), length(1))[0] == 200
