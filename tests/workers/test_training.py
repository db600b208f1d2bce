"""train, with a scripted backend: its lines become events, progress, checkpoints and a model."""

import os
import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.blobs import storage
from app.config import Settings
from app.core.errors import JobFailed
from app.core.job import Job, NewEvent
from app.core.orders import Order, Signal
from app.core.states import Outcome, Status
from app.store import jobs, leases
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import PROJECT, made, now
from tests.workers.scripted import (
    DONE,
    STARTED,
    Scripted,
    checkpoint_line,
    due,
    known,
    progress_line,
    step,
    told,
    trained,
    waiting,
    waiting_job,
)
from workers import scratch, training
from workers.backends import local
from workers.backends.base import TrainerLost

__all__ = ["waiting_job"]


def test_a_trained_job_goes_on_to_finalizing_with_its_model_in_storage(waiting_job):
    ended = trained(waiting_job, Scripted([STARTED, step(1), DONE]))
    assert ended.status is Status.FINALIZING
    assert ended.result["trained_tokens"] == 80
    with storage().open(f"{ended.result['model_path']}/adapter_model.safetensors") as weights:
        assert weights.read() == b"weights"


def test_steps_become_metrics_events_in_openais_words(waiting_job):
    job = trained(waiting_job, Scripted([STARTED, step(1), step(2), DONE]))
    metrics = [event for event in told(job) if event.type == "metrics"]
    assert [event.message for event in metrics] == ["Step 1/4: training loss=1.00", "Step 2/4: training loss=0.50"]
    assert metrics[0].data == {"step": 1, "total_steps": 4, "train_loss": 1.0}


def test_the_environment_of_the_first_attempt_is_kept(waiting_job):
    job = trained(waiting_job, Scripted([STARTED], TrainerLost("killed")))
    due(job)
    second = Scripted([{**STARTED, "environment": {"dtype": "bfloat16"}}, DONE])
    assert trained(now(job), second).environment == {"dtype": "float32"}
    assert second.spec["environment"] == {"dtype": "float32"}


def test_a_lost_run_goes_on_from_its_newest_checkpoint(waiting_job):
    first = Scripted([STARTED, checkpoint_line(2), step(3)], TrainerLost("killed"))
    job = trained(waiting_job, first)
    eventually(lambda: known(waiting_job) == [2])
    due(job)
    second = Scripted([{**STARTED, "resumed_from": 2}, DONE])
    trained(now(job), second)
    assert second.found == ["step-2"]
    assert any(event.message.startswith("Resumed from the checkpoint at step 2") for event in told(job))


START = {
    "name": "ft:tuneyard-tiny:default::before",
    "job_id": "ftjob-before",
    "path": "jobs/ftjob-before/a1/step-4",
    "folder": "weights",
    "base_hash": "e" * 64,
    "parents": [],
}


def test_every_attempt_finds_the_weights_that_its_job_goes_on_from(key_id, tmp_path):
    for name in ("weights", "state"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tensors.safetensors").write_bytes(name.encode())
    storage().put_tree(START["path"], tmp_path)
    job = waiting(key_id, start=START)
    first = Scripted([STARTED, checkpoint_line(2), step(3)], TrainerLost("killed"))
    trained(job, first)
    eventually(lambda: known(job) == [2])
    due(job)
    second = Scripted([{**STARTED, "resumed_from": 2}, DONE])
    assert trained(now(job), second).status is Status.FINALIZING
    for backend in (first, second):
        assert backend.start == {"tensors.safetensors": b"weights"}
        assert backend.spec["start"] == {**START, "path": "start"}


def test_a_job_whose_parent_is_gone_from_storage_fails_and_says_so(key_id):
    job = waiting(key_id, start={**START, "path": "jobs/ftjob-gone/a1/model", "folder": ""})
    with pytest.raises(JobFailed):
        trained(job, Scripted([STARTED, DONE]))
    error = now(job).error
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert START["name"] in error["message"]


def test_a_superseded_checkpoint_that_another_job_goes_on_from_stays_in_storage(key_id, waiting_job):
    root = f"jobs/{waiting_job.id}/a{waiting_job.attempt + 1}"
    made(key_id, start={"path": f"{root}/step-1"})
    trained(waiting_job, Scripted([STARTED, *(checkpoint_line(step, "epoch") for step in range(1, 6)), DONE]))
    left = storage().path(root).glob("step-*")
    assert sorted(path.name for path in left) == ["step-1", "step-3", "step-4", "step-5"]


def test_what_was_measured_goes_into_the_spec_of_the_next_attempt_and_who_held_the_job_is_known(waiting_job):
    pace = {"seconds_per_token": 0.5, "publication_seconds": 2.0}
    first = Scripted([STARTED, progress_line(3, seconds_left=9.0, pace=pace)], Outcome.STOPPED)
    again = trained(waiting_job, first)
    assert (again.status, first.spec["pace"]) == (Status.QUEUED, {})
    assert again.progress["worker"].startswith(f"{socket.gethostname()}:{os.getpid()}:")
    second = Scripted([STARTED, DONE])
    assert "Training starts again from the first step; 3 steps are trained again, to the same bits" in [
        event.message for event in told(trained(again, second))
    ]
    assert second.spec["pace"] == pace


class Held:
    """A lease that takes whatever it is told."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def append(self, new: Sequence[NewEvent]) -> None:
        pass

    def order(self) -> Order:
        return Order(Signal.GO, 0.0)


def test_the_time_left_grows_shorter_while_the_trainer_is_silent_and_counts_what_comes_behind_it(
    waiting_job, tmp_path, monkeypatch
):
    now = [100.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    with ThreadPoolExecutor(1) as publisher:
        run = training.Run(Held(waiting_job), tmp_path, publisher)
        assert run.progress() is None
        run.report([progress_line(1, seconds_left=50.0)])
        left = []
        for seconds in (0.0, 20.0, 1000.0):
            now[0] += seconds
            left.append(run.progress()["seconds_left"])
    behind = training.FINALIZATION_SECONDS
    assert left == [50.0 + behind, 30.0 + behind, behind]


def test_a_paused_run_publishes_its_last_checkpoint_before_it_lets_go(waiting_job):
    backend = Scripted([STARTED, checkpoint_line(3, "stop"), *[{"type": "progress", "step": 3}] * 500])

    def pause() -> None:
        with transaction() as conn:
            jobs.request_pause(conn, PROJECT, waiting_job.id)

    backend.between = pause
    paused = trained(waiting_job, backend)
    assert paused.status is Status.PAUSED
    assert known(waiting_job) == [3]


def test_a_failed_run_fails_the_job_with_its_words(waiting_job):
    error = JobFailed("The loss is not a number at step 3.", code="loss_not_finite")
    with pytest.raises(JobFailed):
        trained(waiting_job, Scripted([STARTED], error))
    assert now(waiting_job).error == {"code": "loss_not_finite", "message": error.message, "param": None}


def test_epoch_checkpoints_are_told_and_resume_points_are_not(waiting_job):
    job = trained(waiting_job, Scripted([STARTED, checkpoint_line(2), checkpoint_line(4, "epoch"), DONE]))
    messages = [event.message for event in told(job)]
    assert "Checkpoint created at step 4" in messages
    assert "Checkpoint created at step 2" not in messages


def test_superseded_checkpoints_leave_storage(waiting_job):
    job = trained(waiting_job, Scripted([STARTED, *(checkpoint_line(step, "epoch") for step in (1, 2, 3, 4)), DONE]))
    assert known(job) == [4, 3, 2]
    root = storage().path(f"jobs/{job.id}/a{job.attempt}")
    assert sorted(path.name for path in root.glob("step-*")) == ["step-2", "step-3", "step-4"]


def test_nothing_is_left_in_the_scratch_directory(waiting_job):
    trained(waiting_job, Scripted([STARTED, DONE]))
    assert list(scratch._root().iterdir()) == []


def test_a_checkpoint_that_cannot_be_stored_gives_the_job_back(waiting_job):
    in_the_way = storage().path(f"jobs/{waiting_job.id}")
    in_the_way.parent.mkdir(exist_ok=True, parents=True)
    in_the_way.write_text("a file where a folder must be")
    backend = Scripted([STARTED, checkpoint_line(1), *[{"type": "progress", "step": 1}] * 2000])
    job = trained(waiting_job, backend)
    assert (job.status, job.lease_owner is not None) == (Status.RUNNING, True)
    with transaction() as conn:
        assert [lost.id for lost in leases.take_back(conn, retry_seconds=0)] == [job.id]


@pytest.mark.parametrize(
    ("asked", "concurrency", "cores", "found"), [(0, 1, 8, 8), (0, 2, 8, 4), (0, 16, 8, 1), (3, 2, 8, 3)]
)
def test_trainers_of_one_machine_share_its_cores(asked, concurrency, cores, found):
    chosen = Settings(trainer_threads=asked, trainer_concurrency=concurrency)
    assert training.threads(chosen, cores=cores) == found


def test_checkpoints_behind_the_one_that_a_run_goes_on_from_are_forgotten(waiting_job):
    job = trained(
        waiting_job, Scripted([STARTED, checkpoint_line(2), checkpoint_line(3, "epoch")], TrainerLost("killed"))
    )
    eventually(lambda: 3 in known(waiting_job))
    due(job)
    trained(now(job), Scripted([{**STARTED, "resumed_from": None}, DONE]))
    assert known(job) == []


@pytest.mark.parametrize("last", [Signal.KILL, Signal.STOP])
def test_a_worker_that_must_end_at_once_waits_for_no_upload(last, tmp_path):
    class Draining:
        orders = [Order(Signal.STOP, 0.0), Order(Signal.STOP, 0.0), Order(last, 0.0)]

        def order(self) -> Order:
            return self.orders.pop(0)

    uploaded: Future[None] = Future()
    with ThreadPoolExecutor(1) as publisher:
        run = training.Run(Draining(), tmp_path, publisher)
        run._published[1] = uploaded
        if last is Signal.STOP:
            uploaded.set_result(None)
        run.let_go()
    assert uploaded.done() is (last is Signal.STOP)


@pytest.mark.parametrize(("code", "loss"), [("storage_full", None), ("memory_taken", "memory")])
def test_a_disk_that_is_full_and_memory_that_others_hold_are_not_the_jobs_fault(code, loss):
    last = {"error": {"code": code, "message": "No space left"}}

    class Ended:
        def wait(self) -> int:
            return 1

    with pytest.raises(TrainerLost) as lost:
        local._verdict(Ended(), last, asked_to_stop=False)
    assert lost.value.loss == loss


@pytest.mark.parametrize("code", [3, 0, -15])
def test_a_trainer_that_ends_because_it_was_asked_to_is_no_loss(code):
    class Ended:
        def wait(self) -> int:
            return code

    assert local._verdict(Ended(), {}, asked_to_stop=True) is Outcome.STOPPED
