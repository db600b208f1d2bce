"""A trainer lives as long as its supervisor says, and not a moment of training longer."""

import time

import pytest

from tests.trainer.conftest import of_kind, write_job
from tests.trainer.process import Trainer
from workers.trainer.report import ORPHANED

pytestmark = pytest.mark.slow
ENDLESS = {"rows": 40, "epochs": 50, "checkpoint_seconds": 1000}


@pytest.fixture
def job(tiny, tmp_path):
    return write_job(tmp_path / "job", tiny, **ENDLESS)


def test_a_supervised_trainer_ends_when_its_stdin_closes(job):
    with Trainer(job, "--supervised") as trainer:
        trainer.lease()
        trainer.until("metrics", 3)
        trainer.process.stdin.close()
        trainer.process.stdin = None
        assert trainer.process.wait(30) == ORPHANED


def test_a_supervised_trainer_ends_when_its_time_has_passed(job):
    with Trainer(job, "--supervised") as trainer:
        trainer.lease()
        trainer.until("metrics", 3)
        trainer.lease(-1)
        assert trainer.process.wait(30) == ORPHANED


def test_a_trainer_whose_lease_has_passed_before_it_began_does_not_begin(job):
    with Trainer(job, "--supervised", "--until", str(time.monotonic() - 1)) as trainer:
        assert trainer.process.wait(30) == ORPHANED
    with Trainer("--standby") as trainer:
        trainer.tell(run=str(job), until=time.monotonic() - 1)
        assert trainer.process.wait(60) == ORPHANED
        assert of_kind(list(trainer.lines()), "metrics") == []


def test_a_trainer_dies_with_the_supervisor_that_started_it(job, tmp_path):
    import os
    import subprocess
    import sys

    from tests.trainer.process import ENVIRONMENT, ROOT

    supervisor = (
        "import subprocess, sys, os\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'workers.trainer', {str(job)!r}, '--supervised'],"
        " stdin=os.open(sys.argv[1], os.O_RDWR), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
    )
    held_open = tmp_path / "stdin"  # a pipe that never reaches its end, so that only the death signal can act
    os.mkfifo(held_open)
    ended = subprocess.run(
        [sys.executable, "-c", supervisor, str(held_open)],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    pid = int(ended.stdout)
    watched = os.pidfd_open(pid) if os.path.exists(f"/proc/{pid}") else None
    if watched is not None:
        import select

        assert select.select([watched], [], [], 30)[0]


def test_standby_waits_for_its_job_and_then_runs_it_under_the_lease(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny)
    with Trainer("--standby") as trainer:
        trainer.tell(run=str(job))
        trainer.lease()
        assert trainer.until("started")["total_steps"] == 12
        assert trainer.until("done")["path"] == "model"
        assert trainer.process.wait(30) == 0


def test_standby_without_a_job_ends_quietly_with_its_stdin():
    with Trainer("--standby") as trainer:
        trainer.process.stdin.close()
        trainer.process.stdin = None
        assert trainer.process.wait(60) == 0
        assert list(trainer.lines()) == []
