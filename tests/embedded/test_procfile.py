import os
import subprocess

import pytest

from app.embedded import procfile
from app.embedded.processes import StackError
from app.embedded.stack import ROOT

COMMANDS = procfile.read(ROOT / "Procfile")


def test_production_has_its_six_processes_in_the_order_of_starting():
    assert list(COMMANDS) == ["release", "web", "worker", "trainer", "clock", "flower"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_is_one_command_that_a_shell_can_become(name):
    subprocess.run(["sh", "-nc", f"exec {COMMANDS[name]}"], check=True)
    assert not set(";|&\n") & set(COMMANDS[name])


def test_flower_refuses_to_start_without_credentials():
    environment = {name: value for name, value in os.environ.items() if name != "FLOWER_BASIC_AUTH"}
    refused = subprocess.run(["sh", "-c", COMMANDS["flower"]], env=environment, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "FLOWER_BASIC_AUTH" in refused.stderr


def test_comments_and_empty_lines_are_no_processes(tmp_path):
    (tmp_path / "Procfile").write_text("# two\n\nweb: run it --now\nclock: tick: tock\n")
    assert procfile.read(tmp_path / "Procfile") == {"web": "run it --now", "clock": "tick: tock"}


def test_a_line_that_is_no_process_is_named(tmp_path):
    (tmp_path / "Procfile").write_text("web run\n")
    with pytest.raises(StackError, match="web run"):
        procfile.read(tmp_path / "Procfile")
