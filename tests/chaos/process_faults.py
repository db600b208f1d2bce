"""Faults of our own processes: killed, stopped past the lease, asked to end all at once.

Each waits for a moment in which it hits something, strikes, and waits until its traces are gone.
"""

import os
import signal
import time
from contextlib import suppress

from tests.chaos.lookout import Held, Lookout, Training, gone
from tests.chaos.recovery import Orphan, Recovery
from tests.chaos.scene import PROCESSES, TRAINERS


def trainer_killed(lookout: Lookout) -> Recovery:
    found = lookout.training()
    return _released(lookout, found, _send(signal.SIGKILL, found.trainer))


def supervisor_killed(lookout: Lookout) -> Recovery:
    """The pool child: its trainer must not outlive the lease."""
    found = lookout.training()
    return _orphaned(lookout, found, _send(signal.SIGKILL, found.supervisor))


def trainer_worker_killed(lookout: Lookout) -> Recovery:
    """The Celery parent of a supervisor at work."""
    found = lookout.training()
    parents = [pids[0] for name in TRAINERS if found.supervisor in (pids := lookout.scene.stack.pids(name))]
    return _orphaned(lookout, found, _send(signal.SIGKILL, *parents))


def worker_killed(lookout: Lookout) -> Recovery:
    """The Celery parent of a validation or finalization."""
    lookout.load.submit()
    found = lookout.held("validating_files", "finalizing")
    return _released(lookout, found, _send(signal.SIGKILL, *lookout.scene.stack.pids("worker")[:1]))


def clock_killed(lookout: Lookout) -> Recovery:
    """While a lease is about to lapse, which nobody else would take back."""
    found = lookout.training()
    at = _send(signal.SIGKILL, *lookout.scene.stack.pids("clock")[:1], found.trainer)
    return _released(lookout, found, at)


def web_killed(lookout: Lookout) -> Recovery:
    """While a request is on its way."""
    lookout.until(lambda: lookout.load.asking, "a request")
    at = _send(signal.SIGKILL, *lookout.scene.stack.pids("web")[:1])
    return Recovery(lookout.until(lookout.scene.web_answers, "the web") - at)


def supervisor_stopped(lookout: Lookout) -> Recovery:
    """Past its lease, and until its successor takes steps where one comes soon: then it wakes up as a zombie."""
    found = lookout.training()
    at = _send(signal.SIGSTOP, found.supervisor)
    try:
        recovery = _orphaned(lookout, found, at)
        _await_successor(lookout, found)
    finally:
        _send(signal.SIGCONT, found.supervisor)
    return recovery


def _await_successor(lookout: Lookout, found: Held) -> None:
    deadline = time.monotonic() + lookout.plan.lease_seconds
    lookout.until(lambda: time.monotonic() > deadline or lookout.succeeded_by(found), "a successor")


def deployed(lookout: Lookout) -> Recovery:
    """SIGTERM to every process of the service at once, trainers included."""
    scene = lookout.scene
    lookout.training()
    held, before = lookout.all_held(), scene.main_pids()
    at = _send(signal.SIGTERM, *(pid for name in PROCESSES for pid in scene.stack.pids(name)))
    freed = lookout.until(lambda: all(lookout.let_go(each) for each in held), "jobs let go by a deploy")
    lookout.until(lambda: _replaced(before, scene.main_pids()), "processes started again")
    lookout.until(scene.web_answers, "the web")
    return Recovery(freed - at)


def _replaced(before: dict[str, int | None], now: dict[str, int | None]) -> bool:
    return all(now[name] is not None and now[name] != pid for name, pid in before.items())


def _send(number: signal.Signals, *pids: int) -> float:
    """Signal the processes that are still there; the monotonic time just before."""
    at = time.monotonic()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return at


def _released(lookout: Lookout, held: Held, at: float) -> Recovery:
    return Recovery(lookout.until(lambda: lookout.let_go(held), "the job taken back") - at)


def _orphaned(lookout: Lookout, found: Training, at: float) -> Recovery:
    """The trainer's end beside the lease's, and the time until the job was let go."""
    lapsed_at = lookout.lapses(found)
    gone_at = gone(found.trainer, seconds=lookout.plan.lease_seconds + lookout.plan.margin(10))
    recovery = _released(lookout, found, at)
    return Recovery(recovery.seconds, Orphan(gone_at, lapsed_at) if lapsed_at else None)
