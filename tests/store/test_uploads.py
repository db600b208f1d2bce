"""Uploads in the database: what they admit, how they end, and which bytes may go."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core import names
from app.core.errors import Unknown
from app.core.job import Part, Upload
from app.store import uploads
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import PROJECT, waits_for_a_lock


def begun(size: int = 10, *, open_seconds: int = 3600) -> Upload:
    with transaction() as conn:
        return uploads.insert(
            conn,
            names.upload_id(),
            project_id=PROJECT,
            filename="t.jsonl",
            purpose="fine-tune",
            size=size,
            mime_type="text/jsonl",
            lifetime=None,
            open_seconds=open_seconds,
        )


@pytest.fixture
def upload(key_id) -> Upload:
    return begun()


def admitted(upload: Upload, size: int) -> bool:
    with transaction() as conn:
        return uploads.admit(conn, upload.id, size)


def part(upload: Upload, size: int = 10) -> Part:
    with transaction() as conn:
        part_id = names.part_id()
        return uploads.add_part(conn, part_id, upload_id=upload.id, size=size, path=f"uploads/{upload.id}/{part_id}")


def completed(upload: Upload, *parts: Part) -> Upload | None:
    with transaction() as conn:
        return uploads.complete(conn, upload.id, file_id="file-a", part_ids=[each.id for each in parts], md5="m")


def cancelled(upload: Upload, project: str = PROJECT) -> Upload | None:
    with transaction() as conn:
        return uploads.cancel(conn, project, upload.id)


def now(upload: Upload) -> Upload:
    with transaction() as conn:
        return uploads.get(conn, PROJECT, upload.id)


def purgeable() -> list[str]:
    with transaction() as conn:
        uploads.expire(conn)
        return [each.id for each in uploads.purgeable(conn)]


def test_an_upload_is_nothing_to_another_project(upload):
    with transaction() as conn, pytest.raises(Unknown):
        uploads.get(conn, "another", upload.id)
    assert cancelled(upload, "another") is None
    assert now(upload).status == "pending"


def test_an_upload_admits_twice_its_size_and_a_part_more_and_then_nothing(upload):
    assert admitted(upload, 20 + uploads.SPARE)
    assert not admitted(upload, 1)
    assert now(upload).received == 20 + uploads.SPARE


def test_what_is_too_large_is_not_counted(upload):
    assert not admitted(upload, 21 + uploads.SPARE)
    assert now(upload).received == 0


def test_an_upload_expires_by_itself_and_then_admits_and_cancels_nothing(key_id):
    late = begun(open_seconds=-1)
    assert now(late).status == "expired"
    assert not admitted(late, 1)
    assert cancelled(late) is None


def test_an_upload_that_expires_while_it_is_joined_is_completed_all_the_same(key_id):
    late = begun(open_seconds=-1)
    made = part(late)
    assert purgeable() == []
    done = completed(late, made)
    assert done is not None
    assert (done.status, done.file_id, done.part_ids) == ("completed", "file-a", [made.id])


def test_an_upload_that_expired_long_ago_is_completed_no_more_and_its_parts_go(key_id):
    late = begun(open_seconds=-uploads.LATE_SECONDS - 1)
    made = part(late)
    assert purgeable() == [made.id]
    assert completed(late, made) is None


@pytest.mark.parametrize("end", [completed, cancelled])
def test_an_upload_ends_once(upload, end):
    assert end(upload) is not None
    assert completed(upload) is None
    assert (cancelled(upload) is None) == (end is completed)


@pytest.mark.parametrize("end", [completed, cancelled])
def test_the_parts_of_an_upload_may_go_once_it_has_ended(upload, end):
    made, other = part(upload), part(begun())
    assert purgeable() == []
    end(upload)
    assert purgeable() == [made.id]
    with transaction() as conn:
        uploads.purged(conn, made)
    assert purgeable() == []
    with transaction() as conn:
        assert uploads.parts(conn, other.upload_id) == [other]


def come(upload: Upload, part_id: str, path: str) -> None:
    with transaction() as conn:
        assert uploads.admit(conn, upload.id, 1)
        uploads.put_part(conn, part_id, upload_id=upload.id, size=1, path=path)


def given(upload: Upload, other: Upload, part_id: str) -> None:
    with transaction() as conn:
        assert uploads.hold(conn, upload.id)
        uploads.hand_over(conn, upload.id, to=other.id, part_ids=[part_id])


def test_a_part_that_comes_while_parts_are_handed_over_goes_along(upload):
    other, part_id = begun(), names.part_id()
    with ThreadPoolExecutor(1) as threads:
        with transaction() as conn:
            assert uploads.admit(conn, upload.id, 1)
            handing = threads.submit(given, upload, other, part_id)
            eventually(waits_for_a_lock)
            uploads.put_part(conn, part_id, upload_id=upload.id, size=1, path="a")
        handing.result()
    with transaction() as conn:
        assert [each.path for each in uploads.parts(conn, other.id)] == ["a"]


def test_a_part_that_comes_again_after_its_upload_has_ended_is_not_purged_with_what_it_was(upload):
    other, part_id = begun(), names.part_id()
    come(upload, part_id, "old")
    cancelled(upload)
    with transaction() as conn:
        [old] = uploads.purgeable(conn)
    come(other, part_id, "new")
    with transaction() as conn:
        uploads.purged(conn, old)
    assert purgeable() == []
    with transaction() as conn:
        assert [each.path for each in uploads.parts(conn, other.id)] == ["new"]
