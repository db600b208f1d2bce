"""A witness outside the database: who took which step when, in the file that TUNEYARD_WITNESS names."""

import os
import time

from workers.trainer.spec import Spec


def note(what: str, spec: Spec, step: int) -> None:
    """Append `pid job attempt step what seconds`, the last of CLOCK_MONOTONIC, in one write.

    Nothing is written without the variable, nor for a run that no worker has claimed.
    """
    path = os.environ.get("TUNEYARD_WITNESS")
    if not path or not spec.attempt:
        return
    line = f"{os.getpid()} {spec.job_id} {spec.attempt} {step} {what} {time.monotonic():.6f}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
