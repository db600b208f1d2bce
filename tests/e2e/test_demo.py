"""The demo itself: to its end, and interrupted in the middle."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from app.embedded.stack import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = 600


@pytest.fixture
def demo(tmp_path_factory) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "FAST": "1", "ASK": "I was charged twice, please help at once."}
    environment.pop("KEEP", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "app.embedded.demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process
        process.kill()


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_demo_trains_survives_and_answers(demo):
    said, _ = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 0, said
    for words in ("paused after", "kill -9", "Worker lost", "Resumed from the checkpoint", "exactly right, tuned"):
        assert words in said


def test_an_interrupted_demo_ends_well_and_leaves_nothing_running(demo):
    assert demo.stdout is not None
    while "Files validated" not in (line := demo.stdout.readline()):
        assert line, "the demo ended early"
    started = children(demo)
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 0, said
    assert "nothing is left running" in said
    assert not [process for process in started if process.is_running()]
