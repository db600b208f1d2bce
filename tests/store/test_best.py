"""The best checkpoint in the database: a model wherever it was made, and at most one."""

from dataclasses import replace

import pytest

from app.core.job import Checkpoint, Job
from app.core.states import Outcome
from app.store import checkpoints, permissions
from app.store.db import transaction
from tests.store.conftest import PROJECT, claimed, finished, resume_point, running


@pytest.fixture
def job(new_job) -> Job:
    return running(new_job)


def recorded(job: Job, step: int, *, kind: str = "resume", best: bool = False, loss: float | None = None) -> Checkpoint:
    metrics = {} if loss is None else {"full_valid_loss": loss}
    with transaction() as conn:
        return checkpoints.record(conn, job, replace(resume_point(job, step, kind=kind, best=best), metrics=metrics))


def pruned(job: Job, *, keep_best: bool) -> list[int]:
    with transaction() as conn:
        return [forgotten.step for forgotten in checkpoints.prune(conn, job, keep_best=keep_best)]


def listed(job: Job) -> dict[int, bool]:
    with transaction() as conn:
        return {found.step: found.best for found in checkpoints.page(conn, job.id, after=None, limit=10)}


def steps(job: Job) -> list[int]:
    with transaction() as conn:
        return [found.step for found in checkpoints.resumable(conn, job.id)]


def test_the_best_checkpoint_is_a_model_also_between_two_epochs_and_another_resume_point_is_none(job):
    best, other = recorded(job, 3, best=True), recorded(job, 4)
    assert listed(job) == {3: True}
    with transaction() as conn:
        assert permissions.usable(conn, PROJECT, best.name) == best
        assert checkpoints.named(conn, PROJECT, best.name) == best
        assert permissions.usable(conn, PROJECT, other.name) is None
        assert checkpoints.named(conn, PROJECT, other.name) is None


def test_it_stays_when_its_job_has_ended_and_goes_when_a_better_one_has_come(job):
    for step in (3, 5):
        recorded(job, step, best=True)
    for step in (6, 7, 8):
        recorded(job, step, kind="epoch")
        pruned(job, keep_best=True)
    recorded(job, 9, kind="stop")
    assert steps(job) == [9, 8, 7, 6, 5]
    finished(claimed(finished(job, Outcome.DONE)), Outcome.DONE)
    with transaction() as conn:
        checkpoints.drop_ended(conn)
    assert steps(job) == [8, 7, 6, 5]
    assert listed(job) == {8: False, 7: False, 6: False, 5: True}


def test_the_best_one_of_the_last_but_one_stays_as_long_as_that_may_be_needed(job):
    for step, loss in ((20, 0.6), (24, 0.5), (26, 0.5), (27, None), (28, 0.4)):
        recorded(job, step, best=step == 28, loss=loss)
    assert pruned(job, keep_best=True) == [20, 26]
    assert listed(job) == {28: True}
    assert pruned(job, keep_best=False) == [24]
    recorded(job, 24, loss=0.5)
    recorded(job, 29)
    assert sorted(pruned(job, keep_best=True)) == [24, 27]


def test_a_run_that_goes_on_from_before_the_best_one_shows_the_one_it_knows(job):
    recorded(job, 2, kind="epoch", best=True)
    recorded(job, 4, kind="epoch", best=True)
    with transaction() as conn:
        checkpoints.drop_beyond(conn, job, 3)
        checkpoints.mark_best(conn, job, 2)
    assert listed(job) == {2: True}
    with transaction() as conn:
        checkpoints.mark_best(conn, job, 0)
    assert listed(job) == {2: False}
