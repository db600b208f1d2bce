"""Storage in a directory: whole or not at all, and never outside."""

from pathlib import Path

import pytest

from app.blobs import Directory, StorageError


@pytest.fixture
def storage(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "storage")


def tree(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def left(storage: Directory) -> list[str]:
    return sorted(path.name for path in storage.root.rglob("*") if path.is_file())


def test_nothing_is_visible_before_the_commit(storage):
    writer = storage.writer("files/a")
    writer.write(b"half")
    with pytest.raises(StorageError):
        storage.open("files/a")
    writer.write(b" and half")
    writer.commit()
    with storage.open("files/a") as file:
        assert file.read() == b"half and half"


def test_an_aborted_write_leaves_nothing(storage):
    writer = storage.writer("files/a")
    writer.write(b"half")
    writer.abort()
    assert left(storage) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b", "a\0b", "."])
def test_a_key_never_leaves_the_directory(storage, key):
    with pytest.raises(StorageError):
        storage.path(key)


def test_a_tree_is_published_whole_and_once(storage, tmp_path):
    storage.put_tree("jobs/j/a1/step-1", tree(tmp_path / "first", weights="one"))
    storage.put_tree("jobs/j/a1/step-1", tree(tmp_path / "second", weights="two"))
    assert storage.path("jobs/j/a1/step-1/weights").read_text() == "one"
    assert left(storage) == ["weights"]


def test_a_published_tree_survives_its_source(storage, tmp_path):
    source = tree(tmp_path / "source", weights="one")
    storage.put_tree("m", source)
    (source / "weights").unlink()
    assert list(storage.tree("m")) == [("weights", 3)]


def test_a_tree_that_is_not_there_cannot_be_fetched(storage, tmp_path):
    with pytest.raises(StorageError):
        storage.fetch_tree("missing", tmp_path / "target")


def test_a_link_shows_what_it_points_to_and_moves_with_the_storage(storage, tmp_path):
    storage.put_tree("jobs/j/model", tree(tmp_path / "source", weights="one"))
    storage.link("models/p/ft:a/b", "jobs/j/model")
    storage.root.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "models" / "p" / "ft:a" / "b" / "weights").read_text() == "one"


def test_removing_a_link_keeps_what_it_points_to(storage, tmp_path):
    storage.put_tree("jobs/j/model", tree(tmp_path / "source", weights="one"))
    storage.link("models/x", "jobs/j/model")
    storage.delete_tree("models/x")
    assert left(storage) == ["weights"]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(storage):
    writer = storage.writer("files/a")
    writer._file.close()
    writer._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with pytest.raises(StorageError, match="No space left"):
        writer.write(b"x")
    writer.abort()
    assert left(storage) == []
