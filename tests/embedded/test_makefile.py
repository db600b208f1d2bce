"""What make does around our programs: set-up, arguments, Ctrl-C."""

import os
import shutil
import subprocess
import sys

import psutil
import pytest

from app.embedded.stack import ROOT, as_shipped
from tests.embedded.terminal import CTRL_C, terminal
from tests.services import is_gone

MAKE = ("make", "--no-print-directory")
STRANGE = "I was charged $20 twice, $(whoami) & 'so'"


@pytest.fixture
def outer():
    """The environment without what a make around the tests has put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | as_shipped()


def test_a_message_and_a_key_reach_the_program_as_they_were_given(directory, outer):
    (directory / "shown.mk").write_text("shown:\n\t@printenv ASK API_KEY\n")
    command = [*MAKE, "-f", "Makefile", "-f", directory / "shown.mk", "shown"]
    told = subprocess.run([*command, f"ASK={STRANGE}", "API_KEY=a$b"], cwd=ROOT, env=outer, capture_output=True)
    assert told.stdout.decode() == f"{STRANGE}\na$b\n"
    outer |= {"ASK": STRANGE, "API_KEY": "a$b"}
    told = subprocess.run(command, cwd=ROOT, env=outer, capture_output=True)
    assert told.stdout.decode() == f"{STRANGE}\na$b\n"


@pytest.mark.parametrize("old", [[], [".SHELLFLAGS=-c"]], ids=["make 4", "as make 3.81, without .SHELLFLAGS"])
def test_a_set_up_that_failed_is_tried_again_at_the_next_make(directory, outer, old):
    shutil.copy(ROOT / "Makefile", directory)
    (directory / "pyproject.toml").touch()
    python = directory / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho Installing collected packages\nexit 1\n")
    python.chmod(0o755)
    failed = subprocess.run([*MAKE, *old, "demo"], cwd=directory, env=outer, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "Installing collected packages" in failed.stdout
    assert not (directory / ".venv" / "ready").exists()


def test_ctrl_c_on_a_terminal_ends_make_well(directory, outer):
    (directory / "Procfile").write_text("web: python -m tests.embedded.dummy_web\nworker: sleep 600\n")
    up = f"{sys.executable} -m app.embedded up --port 0 --data-dir {directory}/data --procfile {directory}/Procfile"
    (directory / "up.mk").write_text(f"up:\n\t@{up}\n")
    with terminal([*MAKE, "-f", directory / "up.mk", "up"], ROOT, outer) as shown:
        shown.read_until("ready at")
        pids = [child.pid for child in psutil.Process(shown.process.pid).children(recursive=True)]
        shown.press(CTRL_C)
        assert shown.read_all() == 0, shown.screen
    assert "stopped" in shown.screen
    assert len(pids) > 4
    assert all(is_gone(pid) for pid in pids)
