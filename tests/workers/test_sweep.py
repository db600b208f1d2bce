"""The sweep: what no row names goes after a day, and nothing else, from a directory and from a bucket."""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.blobs import Stored, storage
from app.blobs.s3_streams import PART
from app.core import names
from app.core.job import File, Job, Model
from app.core.states import Outcome
from app.store import checkpoints, files, jobs, models, uploads
from app.store.db import transaction
from app.store.migrate import migrate
from tests.settings import settings
from tests.store.conftest import PROJECT, claimed, finalizing, finished, made, queued, running
from workers import clock, sweep

FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
"""Before this, everything that is there now is old."""


@pytest.fixture(scope="module", params=["directory", "s3"])
def database(request, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    url = str(tmp_path_factory.mktemp("storage"))
    if request.param == "s3":
        url = f"s3://{request.getfixturevalue('s3').bucket()}/service"
    with settings(database_url=database_url, redis_url="redis://127.0.0.1:1", storage_url=url):
        migrate()
        yield


@pytest.fixture(autouse=True)
def empty(key_id) -> None:
    for found in list(sweep.everything()):
        storage().discard(found)
    for found in list(sweep.everything()):  # directories that this has emptied
        storage().discard(found)


def swept(before: datetime = FUTURE) -> list[str]:
    return sweep.remove_unnamed(list(sweep.everything()), before=before)


def left() -> set[str]:
    return {found.key for found in sweep.everything()}


def tree(prefix: str, tmp_path: Path) -> str:
    source = tmp_path / uuid.uuid4().hex
    source.mkdir()
    (source / "weights").write_bytes(b"w")
    storage().put_tree(prefix, source)
    return prefix


def has(*keys: str) -> list[bool]:
    return [any(f"{found}/".startswith(f"{key}/") for found in left()) for key in keys]


def ended(job: Job) -> Job:
    return finished(job, Outcome.FAILED, error={"message": "no"})


def file_row(path: str) -> str:
    file_id = f"file-{uuid.uuid4().hex}"
    with transaction() as conn:
        files.insert(conn, File(file_id, PROJECT, "t.jsonl", "fine-tune", 1, "0" * 64, path, datetime.now(UTC)))
    return file_id


def model_row(job: Job, path: str) -> Model:
    name = f"ft:some/base:default::{job.id[-8:]}"
    model = Model(name, PROJECT, job.org_id, job.id, "some/base", path, {}, job.created_at)
    with transaction() as conn:
        models.insert(conn, model)
    return model


def test_an_upload_without_a_row_goes_and_one_with_a_row_stays():
    for key in ("files/named", "files/unnamed"):
        storage().put(key, b"x")
    file_row("files/named")
    assert swept() == ["files/unnamed"]
    assert left() == {"files/named"}


def test_what_changed_at_the_very_border_of_the_grace_stays():
    storage().put("files/unnamed", b"x")
    [found] = sweep.everything()
    assert swept(before=found.modified) == []
    assert swept(before=found.modified + timedelta(microseconds=1)) == ["files/unnamed"]


def test_what_came_within_the_last_day_stays():
    storage().put("files/unnamed", b"x")
    assert swept(before=datetime.now(UTC) - sweep.GRACE) == []


def test_a_deleted_file_stays_as_long_as_an_unfinished_job_needs_it(key_id):
    storage().put("files/named", b"x")
    file_id = file_row("files/named")
    job = made(key_id, training_file=file_id)
    with transaction() as conn:
        files.delete(conn, PROJECT, file_id)
    clock.purge()
    assert swept() == []
    assert has("files/named") == [True]
    ended(claimed(job))
    clock.purge()
    assert has("files/named") == [False]


def test_what_an_unfinished_job_goes_on_from_stays_when_no_row_names_it_any_more(key_id, tmp_path, checkpoint):
    maker = running(made(key_id))
    point = checkpoint(maker, 4)
    model, forgotten = (tree(path, tmp_path) for path in (f"jobs/{maker.id}/a1/model", point.path))
    with transaction() as conn:
        checkpoints.record(conn, maker, point)
    ended(maker)
    with transaction() as conn:
        models.delete(conn, PROJECT, model_row(maker, model).name)
    children = [made(key_id, start={"path": path}) for path in (model, forgotten)]
    clock.purge()
    assert swept() == []
    assert [storage().has_tree(path) for path in (model, forgotten)] == [True, True]
    for child in children:
        ended(claimed(child))
    clock.purge()
    swept()
    assert has(model, forgotten) == [False, False]


@pytest.mark.parametrize("state", [claimed, queued, running, finalizing])
def test_nothing_of_an_unfinished_job_goes(new_job, tmp_path, state):
    job = state(new_job)
    tree(f"jobs/{job.id}/a1/model", tmp_path)
    storage().put(f"jobs/{job.id}/a1/report.json", b"{}")
    before = left()
    assert swept() == []
    assert left() == before


def test_of_an_ended_job_goes_what_no_row_names(new_job, tmp_path, checkpoint):
    job = running(new_job)
    kept = checkpoint(job, 4, kind="epoch")
    lost = checkpoint(job, 5)
    for each in (kept, lost):
        tree(each.path, tmp_path)
    with transaction() as conn:
        checkpoints.record(conn, job, kept)
    report, unnamed = f"jobs/{job.id}/a1/report.json", f"jobs/{job.id}/a1/answers.jsonl"
    for key in (report, unnamed):
        storage().put(key, b"{}")
    file_row(report)
    ended(job)
    swept()
    assert has(kept.path, report, lost.path, unnamed) == [True, True, False, False]
    assert storage().has_tree(kept.path)


def test_a_model_and_the_name_it_is_shown_under_stay_until_it_is_deleted(new_job, tmp_path):
    job = finalizing(new_job)
    path = tree(f"jobs/{job.id}/a2/model", tmp_path)
    model = model_row(job, path)
    finished(claimed(job), Outcome.DONE)
    link = f"models/{PROJECT}/{model.name}"
    clock.link_published()
    assert swept() == []
    assert has(path, link) == [True, True]
    with transaction() as conn:
        models.delete(conn, PROJECT, model.name)
    assert swept() == []
    clock.purge()
    assert has(path, link) == [False, False]


def test_a_name_that_no_model_has_goes(new_job, tmp_path):
    job = finalizing(new_job)
    path = tree(f"jobs/{job.id}/a2/model", tmp_path)
    model_row(job, path)
    storage().link("models/default/ft:gone", path)
    swept()
    assert has(path, "models/default/ft:gone") == [True, False]


def test_a_resume_point_whose_row_goes_with_its_job_is_missed_by_nobody(new_job, tmp_path, checkpoint):
    job = running(new_job)
    point = checkpoint(job, 3)
    tree(point.path, tmp_path)
    with transaction() as conn:
        checkpoints.record(conn, job, point)
    ended(job)
    with transaction() as conn:
        assert [gone.id for gone in checkpoints.drop_ended(conn)] == [point.id]  # and the clock dies here
    swept()
    assert has(point.path) == [False]


def test_an_upload_that_was_never_ended_goes_only_when_it_is_old():
    writer = storage().writer("files/abandoned")
    writer.write(b"x" * (PART + 1))
    [found] = sweep.everything()
    assert swept(before=found.modified) == []
    assert len(left()) == 1
    swept()
    assert left() == set()
    writer.abort()


def test_an_upload_that_is_fed_for_long_is_as_old_as_its_newest_bytes():
    begun = datetime.now(UTC) - timedelta(minutes=5)
    writer = storage().writer("files/long")
    writer.write(b"x" * (PART + 1))
    assert swept(before=begun) == []
    writer.commit()
    assert left() == {"files/long"}


def test_a_job_that_ends_while_it_is_looked_at_keeps_its_model(new_job, tmp_path):
    job = finalizing(new_job)
    path = tree(f"jobs/{job.id}/a2/model", tmp_path)
    found = list(sweep.everything())
    model_row(job, path)
    finished(claimed(job), Outcome.DONE)
    assert sweep.remove_unnamed(found, before=FUTURE) == []


def test_what_is_gone_already_is_no_error(key_id):
    gone = Stored("files/gone", datetime.now(UTC))
    assert sweep.remove_unnamed([gone], before=FUTURE) == ["files/gone"]


def test_a_cancelled_jobs_bytes_go(new_job):
    storage().put(f"jobs/{new_job.id}/a1/report.json", b"{}")
    with transaction() as conn:
        jobs.request_cancel(conn, PROJECT, new_job.id)
    assert swept() == [f"jobs/{new_job.id}/a1/report.json"]


def test_a_file_that_is_published_today_is_young_though_its_source_is_old(new_job, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.json").write_bytes(b"{}")
    os.utime(source / "tokenizer.json", (1, 1))
    storage().put_tree(f"jobs/{new_job.id}/a1/model", source)
    ended(claimed(new_job))
    assert swept(before=datetime.now(UTC) - sweep.GRACE) == []
    assert storage().has_tree(f"jobs/{new_job.id}/a1/model")


def test_the_parts_of_an_upload_stay_until_it_has_ended_and_what_is_no_part_goes(key_id):
    with transaction() as conn:
        upload = uploads.insert(
            conn,
            names.upload_id(),
            project_id=PROJECT,
            filename="t.jsonl",
            purpose="fine-tune",
            size=1,
            mime_type="text/jsonl",
            lifetime=None,
            open_seconds=3600,
        )
        part, stray = f"uploads/{upload.id}/part_a", f"uploads/{upload.id}/part_b"
        uploads.add_part(conn, "part_a", upload_id=upload.id, size=1, path=part)
    for key in (part, stray):
        storage().put(key, b"x")
    assert swept() == [stray]
    clock.purge()
    assert has(part) == [True]
    with transaction() as conn:
        uploads.cancel(conn, PROJECT, upload.id)
    clock.purge()
    assert has(part) == [False]
