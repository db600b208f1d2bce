"""Files in the database: pages, deletion, and which bytes may go."""

import pytest

from app.core.errors import Unknown
from app.core.job import File
from app.core.states import Outcome
from app.store import files, jobs
from app.store.db import transaction
from tests.store.conftest import PROJECT, claimed, finished, made, new_file


@pytest.fixture
def file(key_id) -> File:
    return inserted()


def inserted(purpose: str = "fine-tune") -> File:
    with transaction() as conn:
        return files.insert(conn, new_file(purpose))


def deleted(file: File) -> None:
    with transaction() as conn:
        files.delete(conn, PROJECT, file.id)


def purgeable() -> list[str]:
    with transaction() as conn:
        return [file.id for file in files.purgeable(conn)]


def page(**options):
    wanted = {"purpose": None, "after": None, "limit": 100, "ascending": False}
    with transaction() as conn:
        return [file.id for file in files.page(conn, PROJECT, **{**wanted, **options})]


def test_a_deleted_file_is_gone_for_its_project_and_kept_for_its_jobs(file):
    deleted(file)
    with transaction() as conn:
        assert files.find(conn, PROJECT, file.id) is None
        assert files.of_job(conn, file.id) == file
        with pytest.raises(Unknown):
            files.get(conn, PROJECT, file.id)
        with pytest.raises(Unknown):
            files.delete(conn, PROJECT, file.id)


def test_a_file_is_nothing_to_another_project(file):
    with transaction() as conn:
        assert files.find(conn, "another", file.id) is None
        with pytest.raises(Unknown):
            files.delete(conn, "another", file.id)
        assert files.find(conn, PROJECT, file.id) == file


def test_pages_meet_without_gap_or_overlap_though_times_are_equal(key_id):
    made_files = [inserted().id for _ in range(7)]
    with transaction() as conn:
        conn.execute("update files set created_at = '2026-01-01'")
    for ascending in (False, True):
        walked, after = [], None
        while found := page(after=after, limit=2, ascending=ascending):
            walked += found
            after = found[-1]
        assert walked == sorted(made_files, reverse=not ascending)


def test_a_page_begins_behind_a_file_that_was_deleted_meanwhile(key_id):
    first, second, third = (inserted() for _ in range(3))
    deleted(second)
    assert page(after=second.id) == [first.id]
    assert page() == [third.id, first.id]


def test_a_page_of_one_purpose_holds_no_other(file):
    batch = inserted("batch")
    assert page(purpose="batch") == [batch.id]
    assert page(purpose="none") == []


def test_the_bytes_of_a_deleted_file_may_go_once_no_unfinished_job_needs_them(key_id):
    training, validation = inserted(), inserted()
    job = made(key_id, training_file=training.id, validation_file=validation.id)
    assert purgeable() == []
    deleted(training)
    deleted(validation)
    assert purgeable() == []
    finished(claimed(job), Outcome.FAILED, error={"message": "no"})
    assert sorted(purgeable()) == sorted([training.id, validation.id])


def test_bytes_are_purged_once_and_those_of_a_file_in_use_never(file):
    with transaction() as conn:
        files.purged(conn, file.id)
        assert files.get(conn, PROJECT, file.id).path == file.path
    deleted(file)
    with transaction() as conn:
        files.purged(conn, file.id)
    assert purgeable() == []


def test_a_cancelled_job_holds_no_bytes_back(key_id):
    file = inserted()
    job = made(key_id, training_file=file.id)
    deleted(file)
    with transaction() as conn:
        jobs.request_cancel(conn, PROJECT, job.id)
    assert purgeable() == [file.id]
