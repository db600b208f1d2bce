"""Scratch directories of stages: local, one per attempt, removed at its end, or by the next worker after a crash."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.config import settings
from app.core.job import Specified


def _root() -> Path:
    return Path(settings().work_dir or Path(tempfile.gettempdir()) / f"tuneyard-{os.getuid()}")


@contextmanager
def directory(job: Specified) -> Iterator[Path]:
    """An empty private directory for one attempt of a job."""
    path = _root() / f"{job.id}.a{job.attempt}.{socket.gethostname()}.{os.getpid()}"
    path.mkdir(parents=True, mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep() -> None:
    """Remove the directories of this machine's workers that died."""
    if not _root().is_dir():
        return
    for path in _root().iterdir():
        *_, host, pid = path.name.rsplit(".", 2)
        if host == socket.gethostname() and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
