"""The official client sends files in parts, over a real connection, and large ones stay out of memory."""

import hashlib
from collections.abc import Iterator

import openai
import pytest

from tests.dialects.conftest import ROWS, stored
from tests.dialects.server import Server, serving
from tests.dialects.test_openai_client import client

__all__ = ["client"]

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server(app, tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def begun(client, size: int, **options):
    wanted = {"filename": "t.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune", **options}
    return client.uploads.create(bytes=size, **wanted)


def test_an_upload_is_made_of_parts_and_becomes_a_file(client):
    upload = begun(client, len(ROWS), expires_after={"anchor": "created_at", "seconds": 3600})
    parts = [client.uploads.parts.create(upload.id, data=piece) for piece in (ROWS[:300], ROWS[300:])]
    assert {part.upload_id for part in parts} == {upload.id}
    done = client.uploads.complete(
        upload.id, part_ids=[part.id for part in parts], md5=hashlib.md5(ROWS, usedforsecurity=False).hexdigest()
    )
    assert done.status == "completed"
    assert done.file.expires_at == done.file.created_at + 3600
    assert client.files.content(done.file.id).content == ROWS
    assert client.fine_tuning.jobs.create(model="tiny/base", training_file=done.file.id).training_file == done.file.id


def test_an_upload_is_cancelled(client):
    upload = begun(client, 9)
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        client.uploads.parts.create(upload.id, data=b"x")


def test_a_file_that_expires_is_made(client):
    made = client.files.create(
        file=("t.jsonl", ROWS), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 7200}
    )
    assert made.expires_at == made.created_at + 7200


def test_a_file_of_150_mb_goes_up_in_parts_and_is_joined_without_staying_in_memory(client, server, storage, tmp_path):
    client.uploads.upload_file_chunked(
        file=b"x" * MEGABYTE, filename="warm.bin", bytes=MEGABYTE, mime_type="x", purpose="assistants"
    )
    path = tmp_path / "big.bin"
    with path.open("wb") as opened:
        for number in range(150):
            opened.write(bytes([number]) * MEGABYTE)
    before, files = server.peak_memory_kb(), len(stored(storage))
    done = client.uploads.upload_file_chunked(file=path, mime_type="x", purpose="assistants")
    assert done.file.bytes == 150 * MEGABYTE
    with path.open("rb") as opened:
        assert done.md5 == hashlib.file_digest(opened, "md5").hexdigest()
    assert server.peak_memory_kb() - before < 20_000
    assert len(stored(storage)) == files + 1
    (storage / "files" / done.file.id).unlink()
