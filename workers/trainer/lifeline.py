"""How long this process may live: the supervisor's lease on stdin, its death, and the signals that ask to stop.

A trainer whose supervisor is gone, stopped or cut off must not go on beside its successor.
"""

import ctypes
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from workers.trainer.report import ORPHANED

FIRST_LEASE_SECONDS = 10.0  # for a supervisor that did not give `until` along with the job
_LOOK_EVERY_SECONDS = 0.5
_LONGEST_LINE_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1


class Lifeline:
    """The wish to stop and the moment until which the process may live (seconds of time.monotonic())."""

    def __init__(self, *, stdin: int = 0) -> None:
        self.stop_asked = False
        self.until: float | None = None
        self._stdin = stdin
        self._unread = b""

    def hear_signals(self) -> None:
        """SIGTERM and SIGINT ask to stop; a second SIGINT by hand ends the process."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_asked and number == signal.SIGINT:
            os._exit(128 + number)
        self.stop_asked = True

    def wait_for_run(self) -> str | None:
        """Block until the line {"run": directory, "until": seconds} has come.

        None at end of file or when asked to stop first.
        """
        while not self.stop_asked:
            for line in self._arrived(_LOOK_EVERY_SECONDS):
                if line is None:
                    return None
                self._hear(line)
                if "run" in line:
                    return str(line["run"])
        return None

    def watch(self) -> None:
        """Start the thread that ends the process at end of file or when the last `until` has passed."""
        if self.until is None:
            self.until = time.monotonic() + FIRST_LEASE_SECONDS
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def check(self) -> None:
        """End the process at once when its time is over; called before each step and each publish."""
        if self.until is not None and time.monotonic() > self.until:
            os._exit(ORPHANED)

    def _watch(self) -> None:
        while True:
            for line in self._arrived(_LOOK_EVERY_SECONDS):
                if line is None:
                    os._exit(ORPHANED)
                self._hear(line)
            self.check()

    def _hear(self, line: dict) -> None:
        if isinstance(line.get("until"), int | float):
            self.until = float(line["until"])

    def _arrived(self, seconds: float) -> Iterator[dict | None]:
        """The JSON objects that arrive on stdin within `seconds`; None means end of file."""
        if b"\n" not in self._unread:
            if not select.select([self._stdin], [], [], seconds)[0]:
                return
            chunk = os.read(self._stdin, _LONGEST_LINE_BYTES)
            if not chunk:
                yield None
                return
            self._unread = (self._unread + chunk)[-_LONGEST_LINE_BYTES:]
        while b"\n" in self._unread:
            raw, self._unread = self._unread.split(b"\n", 1)
            line = _object(raw)
            if line is not None:
                yield line


def _object(raw: bytes) -> dict | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends; elsewhere the watchdog has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
