import os
import signal
import subprocess
import sys

import pytest

from app.embedded.logs import Log
from app.embedded.processes import Keeper, Program, run, stop_all
from tests.services import eventually, is_gone

STUBBORN = "trap '' TERM; echo deaf; while :; do sleep 600; done"


@pytest.fixture
def keep(directory):
    """Starts a shell command under a keeper, stopped at the end of the test."""
    keepers = []

    def start(command: str, name: str = "worker") -> Keeper:
        program = Program(name, ("/bin/sh", "-c", command), dict(os.environ), directory)
        keepers.append(Keeper(program, Log(directory / f"{name}.log", watched=False)))
        keepers[-1].start()
        eventually(lambda: keepers[-1].pid)
        return keepers[-1]

    yield start
    stop_all(keepers, grace_seconds=0)


def test_a_killed_program_is_started_again(keep):
    keeper = keep("exec sleep 600")
    first = keeper.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: keeper.pid not in (None, first))


def test_a_program_that_ends_again_and_again_waits_longer_each_time(keep):
    keeper = keep("sleep 0.01; exit 3")
    eventually(lambda: "starting again in 0.8 s" in keeper.log.tail())
    assert "ended with status 3; starting again in 0.4 s" in keeper.log.tail()


def test_what_a_dead_program_left_of_its_group_is_killed_before_the_next_start(keep):
    keeper = keep("sleep 600 & wait")
    eventually(lambda: len(keeper.pids()) == 2)
    parent, child = keeper.pids()
    os.kill(parent, signal.SIGKILL)
    eventually(lambda: is_gone(child))


def test_a_stopped_program_had_the_time_to_say_goodbye(keep):
    keeper = keep("trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    eventually(lambda: "ready" in keeper.log.tail())
    stop_all([keeper], grace_seconds=60)
    assert keeper.log.tail().endswith("goodbye")


def test_a_program_that_ignores_the_request_to_stop_is_killed(keep):
    keeper = keep(STUBBORN)
    eventually(lambda: "deaf" in keeper.log.tail() and len(keeper.pids()) == 2)
    pids = keeper.pids()
    stop_all([keeper], grace_seconds=0.1)
    eventually(lambda: all(is_gone(pid) for pid in pids))  # nobody waits for its child


def test_an_interruption_of_the_waiting_kills_all_at_once(keep):
    keepers = [keep(STUBBORN, "one"), keep(STUBBORN, "two"), keep(STUBBORN, "three")]
    for keeper in keepers:
        eventually(lambda: "deaf" in keeper.log.tail())  # noqa: B023
    pids = [keeper.pid for keeper in keepers]
    signal.signal(signal.SIGALRM, lambda *_: signal.default_int_handler(signal.SIGINT, None))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(KeyboardInterrupt):
        stop_all(keepers, grace_seconds=600)
    assert all(is_gone(pid) for pid in pids)


def test_the_last_started_is_asked_to_stop_first_and_each_once(keep, monkeypatch):
    keepers = [keep("exec sleep 600", name) for name in ("one", "two", "three")]
    pids = [keeper.pid for keeper in keepers]
    asked, kill = [], os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: asked.append(pid) or kill(pid, number))
    stop_all(keepers, grace_seconds=60)
    assert asked == pids[::-1]


def test_a_program_dies_with_the_one_that_keeps_it(directory):
    code = """if True:
        import os, pathlib, sys, time
        from app.embedded.logs import Log
        from app.embedded.processes import Keeper, Program
        here = pathlib.Path(sys.argv[1])
        program = Program("child", ("sleep", "600"), dict(os.environ), here)
        keeper = Keeper(program, Log(here / "log", watched=False))
        keeper.start()
        while not keeper.pid:
            time.sleep(0.01)
        print(keeper.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", code, directory], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    eventually(lambda: is_gone(child))


def test_the_output_of_a_program_that_ends_by_itself_is_in_its_log(directory):
    program = Program("release", ("/bin/sh", "-c", "echo done; exit 3"), dict(os.environ), directory)
    with Log(directory / "release.log", watched=False) as log:
        assert run(program, log) == 3
        assert log.tail() == "done"
