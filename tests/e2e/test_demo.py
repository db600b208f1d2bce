"""The demo itself, as `make demo` runs it: to its end, and interrupted with Ctrl-C in the middle."""

import os
import re
import subprocess

import psutil
import pytest

from app.embedded.stack import ROOT
from tests.embedded.terminal import CTRL_C, terminal
from tests.services import is_gone

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".venv/ready").exists(), reason="`make demo` needs what `make` sets up"),
]

MAKE = ["make", "--no-print-directory", "--old-file=.venv/ready", "demo"]
MESSAGE = "I was charged $20 twice"
SECONDS = 900


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A shell with settings of production, none of which may matter, and temporary files of its own."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1", "MODELS_FILE": "none"}
    return {**outer, **nowhere, "TMPDIR": str(tmp_path), "FAST": "0", "KEEP": "0"}


def left(environment: dict[str, str]) -> list[list[str]]:
    """The commands that still run in this environment; a trainer sees little of it, but TMPDIR it does."""
    running = psutil.process_iter(["cmdline", "environ"])
    mark = environment["TMPDIR"]
    return [found.info["cmdline"] for found in running if (found.info["environ"] or {}).get("TMPDIR") == mark]


def test_the_demo_trains_survives_compares_and_answers(environment):
    command = [*MAKE, f"ASK={MESSAGE}"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    for words in ("paused after", "kill -9", "Worker lost at", "Resumed from the checkpoint", "equal, bit for bit"):
        assert words in said
    assert f"message   {MESSAGE}\n" in said
    share = {who: int(percent) for who, percent in re.findall(r"exactly right, (\w+): .*\((\d+)%\)", said)}
    assert share["tuned"] >= 90
    assert share["base"] <= 5
    assert left(environment) == []


def test_a_demo_after_an_interrupted_one_does_not_wait_for_its_job(environment):
    for _ in range(2):
        with terminal(MAKE, ROOT, environment) as shown:
            shown.read_until("Files validated")
            shown.press(CTRL_C)
            assert shown.read_all() == 0, shown.screen
    assert "left by an interrupted demo" in shown.screen


def test_an_interrupted_demo_ends_well_and_leaves_nothing_running(environment):
    with terminal(MAKE, ROOT, environment) as shown:
        shown.read_until("Files validated")
        assert any("workers.trainer" in command for command in left(environment))
        started = psutil.Process(shown.process.pid).children(recursive=True)
        shown.press(CTRL_C)
        assert shown.read_all() == 0, shown.screen
    assert "nothing is left running" in shown.screen
    assert len(started) > 8
    assert all(is_gone(process.pid) for process in started)
    assert left(environment) == []
