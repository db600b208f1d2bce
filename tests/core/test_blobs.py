"""Storage in a directory: what it does with the file system. What every storage owes is in tests/contracts."""

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


def test_a_published_tree_shares_its_bytes_with_the_source(storage, tmp_path):
    source = tree(tmp_path / "source", weights="one")
    storage.put_tree("jobs/j/a1/model", source)
    assert storage.path("jobs/j/a1/model/weights").stat().st_ino == (source / "weights").stat().st_ino
    assert left(storage) == ["weights"]


def test_a_link_shows_what_it_points_to_and_moves_with_the_storage(storage, tmp_path):
    storage.put_tree("jobs/j/model", tree(tmp_path / "source", weights="one"))
    storage.link("models/p/ft:a/b", "jobs/j/model")
    storage.root.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "models" / "p" / "ft:a" / "b" / "weights").read_text() == "one"


def test_a_directory_that_is_away_never_looks_like_an_empty_one(storage):
    with pytest.raises(StorageError):
        storage.has_tree("jobs/j/model")
    with pytest.raises(StorageError):
        list(storage.tree("jobs/j/model"))


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(storage):
    writer = storage.writer("files/a")
    writer._file.close()
    writer._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with pytest.raises(StorageError, match="No space left"):
        writer.write(b"x")
    writer.abort()
    assert left(storage) == []


def test_unfinished_writes_and_empty_directories_are_seen_and_discarded(storage, tmp_path):
    (storage.root / "jobs" / "j" / "a1" / ".step-1.0.partial" / "state").mkdir(parents=True)
    writer = storage.writer("jobs/j/a1/report.json")
    seen = list(storage.stored("jobs"))
    assert sorted(found.key.split(".")[-1].split("/")[-1] for found in seen) == ["partial", "state"]
    for found in seen:
        storage.discard(found)
    assert left(storage) == []
    writer.abort()


def test_a_directory_that_was_filled_meanwhile_is_not_discarded(storage):
    (storage.root / "models" / "p").mkdir(parents=True)
    [found] = storage.stored("models")
    storage.put("models/p/a", b"x")
    storage.discard(found)
    assert left(storage) == ["a"]
