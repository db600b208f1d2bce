"""The local backend: the trainer is a child process of this worker; it is fed leases and read line by line."""

import logging
import signal
from pathlib import Path
from typing import Any

from app.core.errors import JobFailed
from app.core.orders import Order, Signal
from app.core.states import Outcome
from workers.backends.base import NOT_THE_JOBS_FAULT, Line, Report, TrainerLost
from workers.backends.child import Child

BATCH_SECONDS = 0.25
BATCH_LINES = 100
STOPPED_EXIT = 3

log = logging.getLogger(__name__)


class Local:
    """Runs job directories one after the other, and keeps one imported trainer ready when `standby` is on."""

    def __init__(self, *, standby: bool, threads: int) -> None:
        self._keep_standby = standby
        self._threads = threads
        self._standby: Child | None = None

    def prepare(self) -> None:
        """Start a standby trainer, unless one is ready; call from the main thread."""
        if self._keep_standby and (self._standby is None or not self._standby.alive):
            self._standby = Child(["--standby"], threads=self._threads)

    def close(self) -> None:
        """End the standby trainer."""
        if self._standby is not None:
            self._standby.kill()
            self._standby = None

    def run(self, job_dir: Path, report: Report) -> Outcome:
        """Train in `job_dir`; see `Backend.run`."""
        child = self._start(job_dir, until=report(()).until)
        try:
            return _follow(child, report)
        finally:
            child.kill()

    def _start(self, job_dir: Path, *, until: float) -> Child:
        """A trainer that was given its first lease with its job: its supervisor may be stopped right behind this."""
        standby, self._standby = self._standby, None
        if standby is not None and standby.alive:
            try:
                standby.tell({"run": str(job_dir), "until": until})
                return standby
            except BrokenPipeError:
                standby.kill()
        return Child([str(job_dir), "--supervised", "--until", str(until)], threads=self._threads)


def _follow(child: Child, report: Report) -> Outcome:
    last: dict[str, Any] = {}
    asked_to_stop = False
    while not child.ended:
        lines = child.read(seconds=BATCH_SECONDS, most=BATCH_LINES)
        order = report(lines)
        last.update({line["type"]: line for line in lines})
        if order.signal is Signal.KILL:
            child.kill()
            return Outcome.STOPPED
        if order.signal is Signal.STOP and not asked_to_stop:
            asked_to_stop = True
            child.terminate()
        _feed(child, order)
    return _verdict(child, last, asked_to_stop=asked_to_stop or report(()).signal is not Signal.GO)


def _feed(child: Child, order: Order) -> None:
    try:
        child.tell({"until": order.until})
    except BrokenPipeError:
        log.debug("the trainer has closed its input")


def _verdict(child: Child, last: dict[str, Line], *, asked_to_stop: bool) -> Outcome:
    """How the run ended; one that was asked to stop may have gone before it had a checkpoint, or signal handlers."""
    code = child.wait()
    if "error" in last:
        error = last["error"]
        if error["code"] in NOT_THE_JOBS_FAULT:
            raise TrainerLost(error["message"], loss=NOT_THE_JOBS_FAULT[error["code"]])
        raise JobFailed(error["message"], code=error["code"], param=error.get("param"))
    if code == 0 and "done" in last:
        return Outcome.DONE
    if asked_to_stop and code in (STOPPED_EXIT, 0, -signal.SIGTERM):
        return Outcome.STOPPED
    loss = "memory" if child.killed_for_memory() else None
    raise TrainerLost(f"the trainer ended with {code}: {child.last_words()}", loss=loss)
