"""A migrated database, and jobs in the states that tests begin with."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from app.core import names
from app.core.job import Checkpoint, File, Job, Model
from app.core.states import Outcome, Status
from app.store import jobs, keys, leases
from app.store.db import transaction
from app.store.migrate import migrate
from tests.settings import settings

PROJECT = "default"


@pytest.fixture(scope="module")
def database(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with settings(
        database_url=database_url, redis_url="redis://127.0.0.1:1", storage_url=str(tmp_path_factory.mktemp("s"))
    ):
        migrate()
        yield


@pytest.fixture
def key_id(database: None) -> str:
    with transaction() as conn:
        conn.execute(
            "truncate job_events, checkpoints, models, jobs, files, upload_parts, datasets, own_weights, uploads, "
            "aliases, permissions"
        )
        return keys.adopt(conn, names.api_key()).id


@pytest.fixture
def new_job(key_id: str) -> Job:
    return made(key_id)


def made(key_id: str, *, queue: str = "train", **spec: object) -> Job:
    wanted = {"model": "tiny", "base": "tiny", "training_file": "file-a", "validation_file": None, **spec}
    with transaction() as conn:
        return jobs.insert(
            conn,
            names.job_id(),
            project_id=PROJECT,
            key_id=key_id,
            queue=queue,
            spec=wanted,
            metadata=None,
            idem_key=None,
            idem_hash="hash",
        )


def claimed(job: Job, *, ready: Status | None = None, lease_seconds: float = 60) -> Job:
    with transaction() as conn:
        held = leases.claim(
            conn, job.id, ready=ready or job.status, owner=f"w{job.attempt + 1}", lease_seconds=lease_seconds
        )
    assert held is not None
    return held


def finished(job: Job, outcome: Outcome, **made_of: dict[str, object]) -> Job:
    with transaction() as conn:
        return leases.finish(conn, job, outcome, **made_of)


def queued(job: Job) -> Job:
    return finished(claimed(job), Outcome.DONE)


def running(job: Job, *, lease_seconds: float = 60) -> Job:
    return claimed(queued(job), lease_seconds=lease_seconds)


def finalizing(job: Job) -> Job:
    return finished(running(job), Outcome.DONE)


def paused(job: Job) -> Job:
    with transaction() as conn:
        found = jobs.request_pause(conn, PROJECT, queued(job).id)
    assert found is not None
    return found


def now(job: Job) -> Job:
    with transaction() as conn:
        return jobs.get(conn, PROJECT, job.id)


def resume_point(job: Job, step: int, *, kind: str = "resume", best: bool = False) -> Checkpoint:
    return Checkpoint(
        id=names.checkpoint_id(),
        job_id=job.id,
        attempt=job.attempt,
        step=step,
        kind=kind,
        name=f"ft:tiny:ckpt-step-{step}",
        path=f"jobs/{job.id}/a{job.attempt}/step-{step}",
        best=best,
        metrics={"train_loss": 1.0},
        created_at=job.created_at,
    )


@pytest.fixture
def checkpoint() -> Callable[..., Checkpoint]:
    return resume_point


def new_file(purpose: str = "fine-tune") -> File:
    file_id = names.file_id()
    return File(file_id, PROJECT, "t.jsonl", purpose, 3, "0" * 64, f"files/{file_id}", datetime.now(UTC))


def new_model(job: Job, name: str) -> Model:
    return Model(
        name, job.project_id, job.org_id, job.id, "tiny", f"jobs/{job.id}/a{job.attempt}/model", {}, job.created_at
    )


def waits_for_a_lock() -> bool:
    """Whether anybody is held up by another's transaction."""
    with transaction() as conn:
        return bool(conn.execute("select from pg_locks where not granted").rowcount)
