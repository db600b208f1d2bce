"""Small disks that can be full: file systems in memory, filled up by a file that nobody needs.

Without the right to mount (root) there are none, and the faults of disks cannot be inflicted.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Disk:
    """A mounted file system of its own."""

    root: Path

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte fits any more inside the block."""
        filler = self.root / "filler"
        try:
            with filler.open("wb") as file:
                _fill(file.fileno())
            yield
        finally:
            filler.unlink(missing_ok=True)


def _fill(descriptor: int) -> None:
    """Take ever smaller pieces until not even a page is left."""
    size, piece = 0, MEGABYTE
    while piece >= 4096:
        try:
            os.posix_fallocate(descriptor, size, piece)
            size += piece
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 2


@contextmanager
def mounted(place: Path, *, megabytes: int) -> Iterator[Disk | None]:
    """A disk of this size at a new directory, which stays an ordinary one where we may not mount."""
    place.mkdir(mode=0o700, parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tuneyard-chaos", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
