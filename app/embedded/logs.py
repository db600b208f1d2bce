"""Where the output of the embedded processes goes: a file each, and the terminal when somebody watches."""

import contextlib
import sys
from pathlib import Path
from typing import IO, Self

ROTATE_BYTES = 10_000_000


class Log:
    """One process' output, line by line. At opening, a file above 10 MB becomes `….log.1`."""

    def __init__(self, path: Path, *, watched: bool) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > ROTATE_BYTES:
            path.rename(path.with_name(path.name + ".1"))
        self.path = path
        self.watched = watched
        self._file = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        self._file.write(line)
        if self.watched:
            with contextlib.suppress(OSError):  # the terminal may be gone; the file stays
                print(f"{self.path.stem:<9}| {line.decode(errors='replace').rstrip()}", file=sys.stderr, flush=True)

    def follow(self, pipe: IO[bytes]) -> None:
        """Copy every line until the last writer has closed the pipe."""
        with pipe, contextlib.suppress(ValueError):  # ValueError: the log was closed before a straggler ended
            for line in pipe:
                self.write(line)

    def tail(self, lines: int = 8) -> str:
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
