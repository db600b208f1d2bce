"""Children of this process: started in sessions of their own, kept running, and gone when it is gone."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from app.embedded.logs import Log

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
MOST_STARTS = 5
LAST_WORDS_SECONDS = 1.0
LEASH = Path(__file__).with_name("leash.py")


class StackError(Exception):
    """The embedded stack cannot run; the message is one line for the person who started it."""


@dataclass(frozen=True)
class Program:
    """What to run: its name in the logs, and who, where and with which settings."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    user: str = ""  # operating-system user; empty: the one we are
    stop_signal: signal.Signals = signal.SIGTERM


def interrupt_on_signals() -> None:
    """Let every polite signal end the process as Ctrl-C does, even where a shell had Ctrl-C ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def leashed(program: Program) -> list[str]:
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), program.user, *program.command]


def run(program: Program, log: Log) -> int:
    """Run a program that ends by itself; its exit status."""
    process = _spawn(program)
    try:
        assert process.stdout is not None
        log.follow(process.stdout)
        return process.wait()
    finally:
        kill_group(process)
        process.wait()


class Keeper:
    """Keeps one program running, starting it again after a growing pause whenever it ends, until it is stopped."""

    def __init__(self, program: Program, log: Log) -> None:
        self.program = program
        self.log = log
        self.starts = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._ended = threading.Event()  # not the thread's join: Python 3.11 takes an interrupted join for the end
        self._ended.set()

    def start(self) -> None:
        self._ended.clear()
        threading.Thread(target=self._keep, name=f"keep-{self.program.name}", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The process id while the program runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def pids(self) -> list[int]:
        """The program's process id, then those of all its descendants; empty while it is down."""
        pid = self.pid
        if pid is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return []

    def ask_to_stop(self) -> None:
        """Send the stop signal, once: to some programs a second one means "at once"."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._stopping.set()
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(self.program.stop_signal)

    def stop(self, *, deadline: float) -> None:
        """Wait for the end until the deadline (monotonic seconds), then kill the program and all it started."""
        self.ask_to_stop()
        try:
            self._ended.wait(max(0.0, deadline - time.monotonic()))
        finally:
            if self._process is not None and not self._ended.is_set():
                self.log.write(b"did not stop in time: killed\n")
                kill_group(self._process)
                self._ended.wait()
            self.log.close()

    # The thread that starts a process must live as long as the process: its death counts as the parent's death.
    def _keep(self) -> None:
        try:
            self._start_again_and_again()
        finally:
            self._ended.set()

    def _start_again_and_again(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while process := self._start_unless_stopping():
            began = time.monotonic()
            status = process.wait()
            kill_group(process)
            self._reader.join(LAST_WORDS_SECONDS)  # no longer: a process that left the group may hold the pipe
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > STEADY_SECONDS else pause
            self.log.write(f"ended with status {status}; starting again in {pause:.1f} s\n".encode())
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _start_unless_stopping(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = _spawn(self.program)
            self.starts += 1
        self._reader = threading.Thread(target=self.log.follow, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        return self._process


def stop_all(keepers: list[Keeper], *, grace_seconds: float) -> None:
    """Ask all to stop, the last started first, and wait for them together."""
    deadline = time.monotonic() + grace_seconds
    try:
        for keeper in reversed(keepers):
            keeper.ask_to_stop()
    finally:
        _stop_each(list(reversed(keepers)), deadline)


def _stop_each(keepers: list[Keeper], deadline: float) -> None:
    """Stop one after the other; whatever interrupts the waiting, the rest is killed at once."""
    for done, keeper in enumerate(keepers):
        try:
            keeper.stop(deadline=deadline)
        except BaseException:
            _stop_each(keepers[done + 1 :], time.monotonic())
            raise


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the session that the process led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def await_ready(keeper: Keeper, ready: Callable[[], bool], *, seconds: float) -> None:
    """Wait until the program answers.

    Raises StackError with the end of its log when it does not in time, or ends again and again.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline or keeper.starts > MOST_STARTS:
            raise StackError(f"{keeper.program.name} does not start:\n{keeper.log.tail()}")
        time.sleep(0.03)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        leashed(program),
        env=dict(program.environment),
        cwd=program.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
