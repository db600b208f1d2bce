"""What a training backend is: something that runs a job directory and reports, without knowing database or queue."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from app.core.orders import Order
from app.core.states import Outcome

Line = Mapping[str, Any]
"""One JSON line of a trainer.

Its `type` is started, preflight, progress, metrics, checkpoint, ended_early, best, hardest, answers, warning, stopped
or done.
"""


class TrainerLost(Exception):
    """The run ended without saying why, or its machine is failing. It may be tried again.

    `loss` is `memory` when the system killed the process for memory, or others held what it needs.
    """

    def __init__(self, message: str, *, loss: str | None = None) -> None:
        super().__init__(message)
        self.loss = loss


NOT_THE_JOBS_FAULT: Mapping[str, str | None] = {"storage_full": None, "memory_taken": "memory"}
"""The loss by a trainer's error code, of errors that another try may not meet."""

Report = Callable[[Sequence[Line]], Order]
"""Called with the lines since the last call, at least once a second while a run lives."""


class Backend(Protocol):
    """A way to train."""

    def run(self, job_dir: Path, report: Report) -> Outcome:
        """Train in `job_dir` until done or told to stop.

        Raises JobFailed when the run says why it cannot go on, TrainerLost when it ends without a word.
        """
