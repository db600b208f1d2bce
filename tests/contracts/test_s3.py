"""What only S3 storage can get wrong; on a real HTTP server, which does not check signatures."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from app.blobs import StorageError
from app.blobs.s3 import MARKER, S3
from app.blobs.s3_streams import PART
from app.embedded.processes import free_port
from tests.contracts.test_storage import folder
from tests.s3 import environment
from tests.services import eventually

PUBLISHER = "import sys, pathlib; from app.blobs.s3 import S3; S3(sys.argv[1]).put_tree('t', pathlib.Path(sys.argv[2]))"
MANY = {f"{number:03}": b"x" for number in range(120)}


@pytest.fixture
def bucket(s3) -> str:
    return s3.bucket()


@pytest.fixture
def store(bucket) -> S3:
    return S3(bucket)


def test_an_upload_of_20_mb_goes_in_parts(s3, bucket, store):
    writer = store.writer("files/a")
    for _ in range(20):
        writer.write(b"x" * (1 << 20))
    writer.commit()
    [found] = s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Size"] == 20 << 20
    assert found["ETag"].strip('"').endswith(f"-{-(-(20 << 20) // PART)}")
    assert s3.uploads(bucket) == []


def test_a_publisher_that_died_halfway_published_nothing_and_another_try_does(s3, bucket, store, tmp_path):
    source = folder(tmp_path / "source", MANY)
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER, bucket, str(source)])
    try:
        eventually(lambda: s3.keys(bucket))
        publisher.send_signal(signal.SIGSTOP)
        assert 0 < len(s3.keys(bucket)) < len(MANY)
    finally:
        publisher.kill()
        publisher.wait()
    assert not store.has_tree("t")
    assert list(store.tree("t")) == []
    with pytest.raises(StorageError):
        store.fetch_tree("t", tmp_path / "copy")
    store.put_tree("t", source)
    assert len(list(store.tree("t"))) == len(MANY)


def test_a_tree_that_is_being_deleted_is_gone_before_its_first_file_is(s3, bucket, store, tmp_path):
    store.put_tree("t", folder(tmp_path / "source", MANY))
    deleting = threading.Thread(target=store.delete_tree, args=("t",))
    deleting.start()
    looks = 0
    while deleting.is_alive():
        if 0 < len(s3.keys(bucket)) < len(MANY) + 1:
            assert not store.has_tree("t")
            looks += 1
    deleting.join()
    assert looks > 0
    assert s3.keys(bucket) == []


def test_a_published_tree_that_lost_a_file_is_an_error(s3, bucket, store, tmp_path):
    store.put_tree("t", folder(tmp_path / "source", {"a": b"x", "b": b"y"}))
    s3.client.delete_object(Bucket=bucket, Key="t/b")
    with pytest.raises(StorageError, match="t/b"):
        store.fetch_tree("t", tmp_path / "copy")


def test_a_published_file_that_was_cut_is_an_error(s3, bucket, store, tmp_path):
    store.put_tree("t", folder(tmp_path / "source", {"a": b"whole"}))
    s3.client.put_object(Bucket=bucket, Key="t/a", Body=b"who")
    with pytest.raises(StorageError, match="5 bytes"):
        store.fetch_tree("t", tmp_path / "copy")


@pytest.mark.parametrize("marker", [b"", b"[]", b'{"files": {"../../outside": 1}}', b'{"files": {"a": null}}'])
def test_a_marker_that_is_not_ours_is_an_error(s3, bucket, store, tmp_path, marker):
    s3.client.put_object(Bucket=bucket, Key=f"t/{MARKER}", Body=marker)
    with pytest.raises(StorageError):
        store.fetch_tree("t", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_parts_that_nobody_joined_are_listed_and_discarded(s3, bucket, store):
    store.writer("files/a").write(b"x" * (PART + 1))
    [found] = store.stored("files")
    assert (found.key, bool(found.upload)) == ("files/a", True)
    store.discard(found)
    store.discard(found)
    assert s3.uploads(bucket) == []


ASKED = {
    "put": lambda store, place: store.put("files/a", b"x"),
    "write": lambda store, place: store.writer("files/a").write(b"x" * (PART + 1)),
    "open": lambda store, place: store.open("files/a"),
    "fetch": lambda store, place: store.fetch("files/a", place / "a"),
    "delete": lambda store, place: store.delete("files/a"),
    "put_tree": lambda store, place: store.put_tree("t", folder(place / "source")),
    "has_tree": lambda store, place: store.has_tree("t"),
    "fetch_tree": lambda store, place: store.fetch_tree("t", place / "copy"),
    "tree": lambda store, place: list(store.tree("t")),
    "delete_tree": lambda store, place: store.delete_tree("t"),
    "link": lambda store, place: store.link("models/x", "t"),
    "stored": lambda store, place: list(store.stored("files")),
    "ping": lambda store, place: store.ping(),
}
"""Everything that storage can be asked for."""


@pytest.mark.parametrize("what", ASKED)
def test_a_bucket_that_is_not_there_never_looks_like_an_empty_one(s3, tmp_path, what):
    with pytest.raises(StorageError):
        ASKED[what](S3("no-such-bucket"), tmp_path)


def test_a_server_that_is_away_is_told_without_its_address(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageError) as told:
        S3("bucket").ping()
    assert "EndpointConnectionError" in str(told.value)
    assert "127.0.0.1" not in str(told.value)


def test_an_endpoint_that_is_no_url_is_a_storage_error(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "minio")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3"):
        S3("bucket").ping()


def test_missing_credentials_are_told(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="NoCredentialsError"):
        S3("bucket").ping()


def test_requests_are_signed_with_version_4_for_the_region_of_the_environment(s3, bucket, store):
    signed = []
    store._client.meta.events.register("before-send.s3", lambda request, **_: signed.append(request.headers))
    store.put("files/a", b"x")
    authorization = signed[0]["Authorization"]
    assert b"AWS4-HMAC-SHA256 Credential=for-tests/" in authorization
    assert b"/eu-central-1/s3/aws4_request" in authorization


def test_nothing_secret_is_logged_at_the_most_talkative_level(s3, bucket):
    code = (
        "import logging; from app import logs; logs.configure('DEBUG'); logging.debug('talkative');"
        f"from app.blobs.s3 import S3; S3('{bucket}').put('files/a', b'x')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment(s3.port)}, capture_output=True, check=True
    ).stderr
    assert b"talkative" in told
    assert b"for-tests" not in told
    assert b"Signature" not in told


def test_a_service_with_a_directory_imports_no_boto3(tmp_path):
    code = "import sys; from app.blobs import storage; storage().ping(); sys.exit('boto3' in sys.modules)"
    environment = {**os.environ, "STORAGE_URL": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
