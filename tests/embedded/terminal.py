"""A command on a terminal of its own, as somebody runs it who presses Ctrl-C."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CTRL_C = b"\x03"
ADOPT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """The screen and the keyboard of a running command."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.screen = ""
        self._end = end

    def press(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def read_until(self, words: str) -> None:
        while words not in self.screen:
            assert self._read(), f"it ended without {words!r}:\n{self.screen}"

    def read_all(self) -> int:
        """Read until everybody has left the terminal; the command's exit status."""
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        try:
            read = os.read(self._end, 65536)
        except OSError:  # how Linux says that nobody has the terminal any more
            return False
        self.screen += read.decode(errors="replace")
        return bool(read)


@contextmanager
def terminal(command: Sequence[str | Path], directory: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """The command as the leader of a session on a new terminal, ended with the context."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ADOPT, *command],
        cwd=directory,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        os.close(ours)  # which hangs up
        process.wait()
