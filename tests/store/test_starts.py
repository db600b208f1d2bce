"""What an unfinished job goes on from stays, whoever deletes or supersedes it, and when."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import replace

import pytest

from app.core.job import Checkpoint, Job, Model
from app.core.states import Outcome
from app.store import checkpoints, models, paths, permissions
from app.store.db import Connection, Row, transaction
from tests.store.conftest import PROJECT, claimed, finalizing, finished, made, new_model, now, resume_point, running


@pytest.fixture
def model(key_id) -> Model:
    new = new_model(finalizing(made(key_id)), "ft:tiny:default:x:12345678")
    with transaction() as conn:
        models.insert(conn, new)
        models.linked(conn, new.name)
    return new


def begun_with(key_id: str, path: str) -> Job:
    return made(key_id, start={"path": path})


def ended(job: Job) -> None:
    finished(claimed(job), Outcome.FAILED, error={"message": "no"})


def deleted(name: str) -> None:
    with transaction() as conn:
        models.delete(conn, PROJECT, name)


def purgeable() -> list[str]:
    with transaction() as conn:
        return [model.name for model in models.purgeable(conn)]


def test_a_deleted_model_stays_without_its_link_until_the_job_that_goes_on_from_it_has_ended(key_id, model):
    job = begun_with(key_id, model.path)
    deleted(model.name)
    assert purgeable() == []
    with transaction() as conn:
        assert [found.name for found in models.withdrawn(conn)] == [model.name]
        models.unlink(conn, model.name)
        assert models.withdrawn(conn) == []
        assert paths.needed(conn, [model.path, "jobs/other"]) == {model.path}
    ended(job)
    assert purgeable() == [model.name]


def test_a_deleted_model_that_no_job_goes_on_from_goes_with_its_link(key_id, model):
    begun_with(key_id, "jobs/another/a1/model")
    deleted(model.name)
    assert purgeable() == [model.name]
    with transaction() as conn:
        assert models.withdrawn(conn) == []


@contextmanager
def creating(name: str) -> Iterator[Connection[Row]]:
    """A create that has found its model, and is not through."""
    with transaction() as conn:
        assert permissions.usable(conn, PROJECT, name, hold=True) is not None
        yield conn


def test_a_delete_waits_for_a_create_that_has_found_the_model(key_id, model):
    with ThreadPoolExecutor(1) as threads:
        with creating(model.name) as conn:
            deleting = threads.submit(deleted, model.name)
            with pytest.raises(NotYet):
                deleting.result(timeout=0.3)
            insert(conn, key_id, model.path)
        deleting.result(timeout=30)
    assert purgeable() == []


def insert(conn: Connection[Row], key_id: str, path: str) -> None:
    """A job that goes on from a path, in the transaction that has found it."""
    conn.execute(
        """
        insert into jobs (id, project_id, org_id, key_id, idem_hash, spec)
        select 'ftjob-second', project_id, org_id, %s, 'hash', spec || jsonb_build_object('start',
               jsonb_build_object('path', %s::text)) from jobs limit 1
        """,
        (key_id, path),
    )


def test_a_checkpoint_that_is_superseded_while_a_create_has_found_it_keeps_its_bytes(key_id):
    maker = running(made(key_id))
    with transaction() as conn:
        epoch, *_ = [
            checkpoints.record(conn, maker, named(resume_point(maker, step, kind="epoch"))) for step in (1, 2, 3, 4, 5)
        ]

    def prune() -> list[Checkpoint]:
        with transaction() as conn:
            return checkpoints.unneeded(conn, checkpoints.prune(conn, maker, keep_best=False))

    with ThreadPoolExecutor(1) as threads:
        with creating(epoch.name) as conn:
            pruning = threads.submit(prune)
            with pytest.raises(NotYet):
                pruning.result(timeout=0.3)
            insert(conn, key_id, epoch.path)
        assert [forgotten.step for forgotten in pruning.result(timeout=30)] == [2]
    with transaction() as conn:
        assert permissions.usable(conn, PROJECT, epoch.name) is None
        assert paths.needed(conn, [epoch.path]) == {epoch.path}
    finished(claimed(now(replace(maker, id="ftjob-second"))), Outcome.FAILED, error={"message": "no"})
    with transaction() as conn:
        assert paths.needed(conn, [epoch.path]) == set()


def named(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, name=f"{checkpoint.job_id}:ckpt-step-{checkpoint.step}")
