"""Ids that callers choose: one thing each, for as long as it is there, whoever else asks at the same moment."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from app.core import names
from app.core.errors import Taken, Unknown
from app.core.job import File
from app.core.listings import Listing, Order
from app.core.resources import Shard
from app.store import aliases, datasets, files, shards, uploads
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import PROJECT, waits_for_a_lock


def reserved(alias: str, target: str, *, project: str = PROJECT, kind: str = "dataset") -> None:
    with transaction() as conn:
        aliases.reserve(conn, project, kind, alias, target=target)


def target(alias: str, *, project: str = PROJECT, kind: str = "dataset") -> str:
    with transaction() as conn:
        return aliases.target(conn, project, kind, alias)


def begun(alias: str) -> str:
    dataset_id = names.file_id()
    with transaction() as conn:
        aliases.reserve(conn, PROJECT, "dataset", alias, target=dataset_id)
        datasets.insert(
            conn, dataset_id, project_id=PROJECT, display_name="", format="", ignored=[], created_by="key_a"
        )
    return dataset_id


def filed(dataset_id: str, *, lifetime: int | None = None) -> File:
    with transaction() as conn:
        new = File(dataset_id, PROJECT, "t.jsonl", "fine-tune", 1, "0", f"files/{dataset_id}", created_at=None)  # type: ignore[arg-type]
        return files.insert(conn, new, lifetime=lifetime)


def test_an_id_stands_for_one_thing_of_a_kind_and_a_project(key_id):
    with transaction() as conn:
        conn.execute("insert into projects (id, org_id) values ('another', 'default') on conflict do nothing")
    reserved("a", "file-1")
    with pytest.raises(Taken):
        reserved("a", "file-2")
    reserved("a", "ftjob-1", kind="job")
    reserved("a", "file-2", project="another")
    assert [target("a"), target("a", kind="job"), target("a", project="another")] == ["file-1", "ftjob-1", "file-2"]
    assert target("b") == "b"


def test_a_thing_has_one_id(key_id):
    reserved("a", "file-1")
    with pytest.raises(psycopg.errors.UniqueViolation):
        reserved("b", "file-1")


def test_of_two_who_ask_for_an_id_at_once_one_gets_it(key_id):
    with ThreadPoolExecutor(1) as threads:
        with transaction() as conn:
            aliases.reserve(conn, PROJECT, "dataset", "a", target="file-1")
            rival = threads.submit(reserved, "a", "file-2")
            eventually(waits_for_a_lock)
        with pytest.raises(Taken):
            rival.result(60)
    assert target("a") == "file-1"


@pytest.mark.parametrize("end", ["deleted", "expired"])
def test_the_id_of_a_file_that_is_gone_is_free(key_id, end):
    dataset_id = begun("a")
    filed(dataset_id, lifetime=-1 if end == "expired" else None)
    if end == "deleted":
        with transaction() as conn:
            files.delete(conn, PROJECT, dataset_id)
    with transaction() as conn, pytest.raises(Unknown):
        datasets.get(conn, PROJECT, "a")
    reserved("a", "file-2")


def test_the_id_of_a_dataset_that_waits_for_its_rows_is_not_free(key_id):
    begun("a")
    with pytest.raises(Taken):
        reserved("a", "file-2")


def test_a_dataset_is_its_makers_and_nobody_elses(key_id):
    begun("a")
    with transaction() as conn:
        listing = Listing(where=None, order=(Order("name"),), after=None, limit=5)
        assert [each.name for each in datasets.page(conn, PROJECT, listing).items] == ["a"]
        assert datasets.page(conn, "another", listing).items == []
        with pytest.raises(Unknown):
            datasets.get(conn, "another", "a")


def test_a_part_that_comes_again_tells_where_the_first_one_lies(key_id):
    dataset_id = begun("a")
    with transaction() as conn:
        upload = uploads.insert(
            conn, names.upload_id(), project_id=PROJECT, filename="a.jsonl", purpose="fine-tune", size=2,
            mime_type="", lifetime=None, open_seconds=60,
        )  # fmt: skip
        datasets.announce(conn, dataset_id, upload_id=upload.id, shards=[Shard("a.jsonl", 2, "part_a")])
        assert uploads.put_part(conn, "part_a", upload_id=upload.id, size=2, path="uploads/one") is None
        assert uploads.put_part(conn, "part_a", upload_id=upload.id, size=2, path="uploads/two") == "uploads/one"
        assert [part.path for part in uploads.parts(conn, upload.id)] == ["uploads/two"]
        assert shards.awaited(conn, PROJECT, upload.id) == [Shard("a.jsonl", 2, "part_a")]
