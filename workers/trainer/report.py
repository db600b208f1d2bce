"""What a supervisor gets: JSON lines on the real stdout, where nothing else is printed, and an exit code."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]
DONE, ERROR, STOPPED, ORPHANED = 0, 1, 3, 4  # exit codes; ORPHANED: nobody is there to read the lines


def claim_stdout() -> Emit:
    """Keep stdout for the returned function alone and point file descriptor 1, and sys.stdout, at stderr."""
    sys.stdout.flush()
    private = os.dup(1)
    os.dup2(2, 1)

    def emit(line: dict[str, Any]) -> None:
        data = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")
        while data:
            data = data[os.write(private, data) :]

    return emit


def warn(emit: Emit, message: str, **details: Any) -> None:
    emit({"type": "warning", "message": message, "data": details})
