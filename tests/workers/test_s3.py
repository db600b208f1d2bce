"""train with storage on a real HTTP server that speaks S3, which does not check signatures."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.blobs import storage
from app.blobs.s3 import MARKER
from app.core.states import Status
from app.store import checkpoints, jobs
from app.store.db import transaction
from app.store.migrate import migrate
from tests.s3 import Server
from tests.services import eventually
from tests.settings import settings
from tests.store.conftest import PROJECT, now
from tests.workers.scripted import DONE, STARTED, Scripted, checkpoint_line, due, known, step, trained, waiting_job
from workers.backends.base import TrainerLost

__all__ = ["waiting_job"]


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def database(database_url: str, s3: Server, work_dir: Path) -> Iterator[None]:
    with settings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1",
        storage_url=f"s3://{s3.bucket()}/service",
        work_dir=str(work_dir),
        heartbeat_seconds="0.02",
        trainer_standby="0",
    ):
        migrate()
        yield


def test_another_worker_with_nothing_on_its_disk_goes_on_from_the_newest_checkpoint(waiting_job, work_dir):
    first = Scripted([STARTED, checkpoint_line(2), step(3)], TrainerLost("killed"))
    job = trained(waiting_job, first)
    eventually(lambda: known(waiting_job) == [2])
    shutil.rmtree(work_dir)
    due(job)
    second = Scripted([{**STARTED, "resumed_from": 2}, DONE])
    ended = trained(now(job), second)
    assert second.found == ["step-2"]
    assert ended.status is Status.FINALIZING
    with storage().open(f"{ended.result['model_path']}/adapter_model.safetensors") as weights:
        assert weights.read() == b"weights"


def test_a_checkpoint_that_was_not_stored_to_its_end_is_passed_over(waiting_job):
    lines = [STARTED, checkpoint_line(2), checkpoint_line(3, "epoch"), step(3)]
    job = trained(waiting_job, Scripted(lines, TrainerLost("killed")))
    eventually(lambda: 3 in known(waiting_job))
    storage().delete(f"jobs/{job.id}/a{job.attempt}/step-3/{MARKER}")
    due(job)
    second = Scripted([{**STARTED, "resumed_from": None}, DONE])
    trained(now(job), second)
    assert "step-3" not in second.found


def test_a_step_that_is_stored_again_by_a_later_attempt_leaves_no_older_bytes(waiting_job):
    first = Scripted([STARTED, checkpoint_line(5, "stop"), *[{"type": "progress", "step": 5}] * 500])

    def pause() -> None:
        with transaction() as conn:
            jobs.request_pause(conn, PROJECT, waiting_job.id)

    first.between = pause
    paused = trained(waiting_job, first)
    assert known(paused) == [5]
    with transaction() as conn:
        jobs.request_resume(conn, PROJECT, paused.id)
    trained(now(paused), Scripted([{**STARTED, "resumed_from": 5}, checkpoint_line(5, "epoch"), DONE]))
    with transaction() as conn:
        [only] = checkpoints.resumable(conn, paused.id)
    kept = {found.key.split("/")[2] for found in storage().stored(f"jobs/{paused.id}") if "/step-5/" in found.key}
    assert kept == {f"a{only.attempt}"}
    assert only.attempt > paused.attempt


def test_the_same_step_of_the_same_attempt_keeps_its_bytes(waiting_job):
    lines = [STARTED, checkpoint_line(5, "epoch")]
    job = trained(waiting_job, Scripted(lines, TrainerLost("killed")))
    eventually(lambda: known(waiting_job) == [5])
    with transaction() as conn:
        [recorded] = checkpoints.resumable(conn, job.id)
        assert checkpoints.replaced(conn, recorded) == []
    assert storage().has_tree(recorded.path)


def test_superseded_checkpoints_leave_the_bucket(waiting_job):
    lines = [STARTED, *(checkpoint_line(step, "epoch") for step in (1, 2, 3, 4)), DONE]
    job = trained(waiting_job, Scripted(lines))
    assert known(job) == [4, 3, 2]
    root = f"jobs/{job.id}/a{job.attempt}"
    assert {found.key.split("/")[3] for found in storage().stored(root)} == {"model", "step-2", "step-3", "step-4"}
