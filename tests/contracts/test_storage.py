"""What every storage owes: a directory, and a bucket on a real HTTP server, which does not check signatures."""

import hashlib
import threading
import tracemalloc
from pathlib import Path

import pytest

from app.blobs import CHUNK, Directory, Storage, StorageError, storage
from app.blobs.s3 import S3
from app.blobs.s3_streams import PART
from tests.settings import settings

MEGABYTE = 1 << 20
FILES = {"weights.safetensors": b"w" * 70_000, "tokenizer/vocabulary.json": b"{}", "empty": b""}


@pytest.fixture(params=["directory", "s3"])
def store(request, tmp_path) -> Storage:
    if request.param == "directory":
        return Directory(tmp_path / "storage")
    server = request.getfixturevalue("s3")
    return S3(server.bucket(), "some/prefix")


def folder(path: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def left(store: Storage) -> list[str]:
    """All that takes up room, hidden or not; empty directories take none."""
    found = (each.key for place in ("files", "jobs", "models", "pings", "weights") for each in store.stored(place))
    return sorted(key for key in found if not (isinstance(store, Directory) and _is_folder(store.path(key))))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def content(store: Storage, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


def test_stored_keys_are_gathered_into_a_directory_that_needs_them_no_more(store):
    for key, stored in (("files/a", b"w" * 70_000), ("files/b", b"{}")):
        store.put(key, stored)
    store.gather("weights/x", {"model.safetensors": "files/a", "config.json": "files/b"})
    for key in ("files/a", "files/b"):
        store.delete(key)
    assert store.has_tree("weights/x")
    assert list(store.tree("weights/x")) == [("config.json", 2), ("model.safetensors", 70_000)]
    assert content(store, "weights/x/model.safetensors") == b"w" * 70_000
    store.delete_tree("weights/x")
    assert left(store) == []


def test_a_directory_of_a_key_that_is_not_there_is_never_visible(store):
    store.put("files/b", b"{}")
    with pytest.raises(StorageError, match="weights/x"):
        store.gather("weights/x", {"config.json": "files/b", "model.safetensors": "files/a"})
    assert not store.has_tree("weights/x")


def test_nothing_is_visible_before_the_commit(store):
    writer = store.writer("files/a")
    writer.write(b"half")
    with pytest.raises(StorageError):
        store.open("files/a")
    writer.write(b" and half")
    writer.commit()
    assert content(store, "files/a") == b"half and half"
    assert (writer.size, writer.sha256) == (13, hashlib.sha256(b"half and half").hexdigest())


def test_an_abort_after_the_commit_takes_nothing_back(store):
    writer = store.writer("files/a")
    writer.write(b"x" * (PART + 1))
    writer.commit()
    writer.abort()
    assert len(content(store, "files/a")) == PART + 1


@pytest.mark.parametrize("megabytes", [0, 1, 20])
def test_an_upload_that_is_dropped_leaves_nothing(store, megabytes):
    writer = store.writer("files/a")
    for _ in range(megabytes):
        writer.write(b"x" * MEGABYTE)
    if megabytes == 20:
        assert left(store) != []
    writer.abort()
    assert left(store) == []
    with pytest.raises(StorageError):
        store.open("files/a")


def test_a_large_upload_passes_through_and_back_without_staying_in_memory(store):
    piece, size = bytes(range(256)) * 4096, 60
    store.put("files/warm", piece)
    tracemalloc.start()
    try:
        writer = store.writer("files/a")
        for _ in range(size):
            writer.write(piece)
        writer.commit()
        read = 0
        with store.open("files/a") as file:
            while chunk := file.read(CHUNK):
                read += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert writer.size == read == size * MEGABYTE
    assert peak < 3 * PART < size * MEGABYTE / 2


def test_a_key_that_is_not_there_cannot_be_read_and_need_not_be_deleted(store, tmp_path):
    with pytest.raises(StorageError):
        store.open("files/a")
    with pytest.raises(StorageError):
        store.fetch("files/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    store.delete("files/a")


@pytest.mark.parametrize("megabytes", [1, 40])
def test_a_key_is_fetched_to_a_local_file_byte_for_byte(store, tmp_path, megabytes):
    stored = store.put("files/a", bytes(range(256)) * 4096 * megabytes)
    store.fetch("files/a", tmp_path / "a")
    assert hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest() == stored.sha256


def test_a_deleted_key_is_gone_and_its_neighbours_stay(store):
    for key in ("files/a", "files/ab"):
        store.put(key, b"x")
    store.delete("files/a")
    assert left(store) == ["files/ab"]


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b", "a\0b", "."])
def test_a_key_never_leaves_storage(store, key, tmp_path):
    for attempt in (
        lambda: store.put(key, b"x"),
        lambda: store.open(key),
        lambda: store.delete(key),
        lambda: store.put_tree(key, folder(tmp_path / "source")),
        lambda: store.location(key),
    ):
        with pytest.raises(StorageError, match="no storage key"):
            attempt()


def test_a_tree_comes_back_as_it_was(store, tmp_path):
    store.put_tree("jobs/j/a1/step-1", folder(tmp_path / "source"))
    assert store.has_tree("jobs/j/a1/step-1")
    assert list(store.tree("jobs/j/a1/step-1")) == sorted((name, len(text)) for name, text in FILES.items())
    store.fetch_tree("jobs/j/a1/step-1", tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in FILES} == FILES
    assert content(store, "jobs/j/a1/step-1/tokenizer/vocabulary.json") == b"{}"


def test_what_is_published_already_stays_as_it_is(store, tmp_path):
    store.put_tree("jobs/j/a1/step-1", folder(tmp_path / "first", {"weights": b"one"}))
    before = left(store)
    store.put_tree("jobs/j/a1/step-1", folder(tmp_path / "second", {"weights": b"two!", "more": b""}))
    assert content(store, "jobs/j/a1/step-1/weights") == b"one"
    assert left(store) == before


def test_a_folder_of_a_tree_comes_without_the_rest(store, tmp_path):
    files = {"weights/a": b"1", "weights/deep/b": b"2", "weights-of-others": b"3", "state/c": b"4"}
    store.put_tree("jobs/j/a1/step-1", folder(tmp_path / "source", files))
    store.fetch_tree("jobs/j/a1/step-1", tmp_path / "copy", below="weights")
    copy = tmp_path / "copy"
    assert {str(path.relative_to(copy)): path.read_bytes() for path in copy.rglob("*") if path.is_file()} == {
        "a": b"1",
        "deep/b": b"2",
    }


def test_a_published_tree_survives_its_source(store, tmp_path):
    source = folder(tmp_path / "source")
    store.put_tree("jobs/j/a1/model", source)
    for path in source.rglob("*"):
        if path.is_file():
            path.unlink()
    assert len(content(store, "jobs/j/a1/model/weights.safetensors")) == 70_000


def test_a_source_that_is_not_there_is_published_as_nothing(store, tmp_path):
    with pytest.raises(StorageError):
        store.put_tree("jobs/j/a1/model", tmp_path / "missing")
    assert not store.has_tree("jobs/j/a1/model")
    assert left(store) == []


def test_a_tree_that_is_not_there_has_no_files_and_cannot_be_fetched(store, tmp_path):
    store.put("jobs/j/a1/report.json", b"{}")
    assert not store.has_tree("jobs/j/a1/model")
    assert list(store.tree("jobs/j/a1/model")) == []
    with pytest.raises(StorageError):
        store.fetch_tree("jobs/j/a1/model", tmp_path / "copy")


def test_a_reader_sees_a_tree_whole_or_not_at_all(store, tmp_path):
    source = folder(tmp_path / "source", {f"{number:03}": b"x" for number in range(150)})
    store.put("jobs/j/report.json", b"{}")
    publishing = threading.Thread(target=store.put_tree, args=("jobs/j/a1/model", source))
    seen = []
    publishing.start()
    while publishing.is_alive():
        seen.append(len(list(store.tree("jobs/j/a1/model"))))
    publishing.join()
    assert set(seen) <= {0, 150}
    assert len(list(store.tree("jobs/j/a1/model"))) == 150


def test_a_deleted_tree_leaves_nothing_and_its_neighbours_stay(store, tmp_path):
    for prefix in ("jobs/j/a1/step-1", "jobs/j/a1/step-10"):
        store.put_tree(prefix, folder(tmp_path / prefix.replace("/", "-"), {"weights": b"x"}))
    store.delete_tree("jobs/j/a1/step-1")
    store.delete_tree("jobs/j/a1/step-1")
    assert not store.has_tree("jobs/j/a1/step-1")
    assert store.has_tree("jobs/j/a1/step-10")
    assert not any(key.startswith("jobs/j/a1/step-1/") for key in left(store))


def test_a_link_shows_what_it_points_to_and_going_leaves_that_alone(store, tmp_path):
    store.put_tree("jobs/j/a1/model", folder(tmp_path / "source"))
    alone = left(store)
    for _ in range(2):
        store.link("models/p/ft:tiny/base:org::j", "jobs/j/a1/model")
    name = "models/p/ft:tiny/base:org::j"
    assert list(store.tree(name)) == list(store.tree("jobs/j/a1/model"))
    assert content(store, f"{name}/tokenizer/vocabulary.json") == b"{}"
    store.delete_tree(name)
    assert left(store) == alone


def test_what_lies_below_a_place_is_listed_with_the_time_it_came(store, tmp_path):
    source = folder(tmp_path / "source", {"weights": b"x"})
    store.put("files/a", b"x")
    [file] = store.stored("files")
    store.put_tree("jobs/j/a1/model", source)
    found = list(store.stored("jobs"))
    assert "jobs/j/a1/model/weights" in [each.key for each in found]
    assert all(each.modified.tzinfo is not None for each in found)
    assert all(abs((each.modified - file.modified).total_seconds()) < 600 for each in found)


def test_what_was_discarded_is_gone_and_may_be_discarded_again(store):
    store.put("files/a", b"x")
    [found] = store.stored("files")
    store.discard(found)
    store.discard(found)
    assert left(store) == []


def test_a_probe_leaves_nothing(store):
    store.ping()
    assert left(store) == []


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "s3:///prefix"])
def test_a_url_that_names_no_storage_is_refused(url):
    with settings(storage_url=url), pytest.raises(StorageError, match="STORAGE_URL"):
        storage()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("/srv/files", "/srv/files/files/a"),
        ("file:///srv/files", "/srv/files/files/a"),
        ("s3://bucket", "s3://bucket/files/a"),
        ("s3://bucket/some/prefix/", "s3://bucket/some/prefix/files/a"),
    ],
)
def test_the_url_decides_where_a_key_lies(url, place):
    with settings(storage_url=url):
        assert storage().location("files/a") == place
