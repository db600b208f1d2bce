"""The watchdog ends a process whose main thread does not come back to look: one that is stuck inside a step."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.trainer.process import ENVIRONMENT, ROOT, Trainer
from workers.trainer.report import ORPHANED

STUCK = """
import time
from workers.trainer.lifeline import Lifeline
lifeline = Lifeline()
lifeline.watch()
print("watched", flush=True)
time.sleep(600)
"""


class Stuck(Trainer):
    """A process that holds a trainer's lifeline and never looks at it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", STUCK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "watched\n"


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    stuck = Stuck()
    with stuck:
        yield stuck


def test_the_watchdog_ends_a_stuck_trainer_at_the_end_of_its_stdin(stuck):
    stuck.lease()
    stuck.process.stdin.close()
    stuck.process.stdin = None
    assert stuck.process.wait(20) == ORPHANED


def test_the_watchdog_ends_a_stuck_trainer_when_its_time_has_passed(stuck):
    stuck.lease(0.1)
    assert stuck.process.wait(20) == ORPHANED
