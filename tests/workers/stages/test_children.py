"""The trainer as a child process: killed, left without secrets, talked to, and gone."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.blobs import storage
from app.core.job import Job
from app.core.states import Status
from app.store import checkpoints, leases
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import now
from tests.workers.stages.samples import ROWS, VALID, created
from workers import finalization, training, validation
from workers.backends.child import Child

pytestmark = pytest.mark.slow


def adapter(job: Job) -> bytes:
    with storage().open(f"{job.result['model_path']}/adapter_model.safetensors") as weights:
        return weights.read()


def kill_the_trainer_behind_its_first_checkpoint(job: Job) -> None:
    def published() -> bool:
        with transaction() as conn:
            return bool(checkpoints.resumable(conn, job.id))

    eventually(published)
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # one of before, which ends at this moment
            if "workers.trainer" in child.cmdline():
                child.kill()


def test_a_killed_trainer_costs_no_bit_of_the_weights(succeeded, key_id):
    job = created(key_id, ROWS, VALID)
    validation.validate(job.id)
    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill_the_trainer_behind_its_first_checkpoint, job)
        training.train(job.id)
        killed.result()
    lost = now(job)
    assert lost.status is Status.RUNNING
    with transaction() as conn:
        leases.take_back(conn, retry_seconds=0)
    training.train(job.id)
    finalization.finalize(job.id)
    ended = now(job)
    assert ended.attempt == succeeded.attempt + 1
    assert adapter(ended) == adapter(succeeded)


def test_a_trainer_sees_no_secret_of_the_worker(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("REDIS_URL", "redis://secret")
    child = Child(["--standby"], threads=1)
    environ = Path(f"/proc/{child.pid}/environ")
    try:
        eventually(environ.read_bytes)  # empty for a moment while the kernel starts the program
        seen = environ.read_bytes()
    finally:
        child.kill()
    assert b"secret" not in seen
    assert b"PATH=" in seen


def test_a_child_that_is_told_more_than_it_reads_does_not_block_its_supervisor():
    child = Child(["--standby"], threads=1)
    try:
        os.kill(child.pid, signal.SIGSTOP)
        for number in range(20_000):
            child.tell({"until": number})
    finally:
        child.kill()


def test_killing_a_child_leaves_no_process():
    child = Child(["--standby"], threads=1)
    child.kill()
    eventually(lambda: not Path(f"/proc/{child.pid}").exists())
