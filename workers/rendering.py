"""What a supervisor sees of a child that renders a job's own chat template: which row it is at, and since when.

The child keeps its limits by itself (`workers/trainer/confinement.py`); this is for when they end it, or it cannot.
"""

import signal
from pathlib import Path

from app.config import settings
from app.core.errors import JobFailed

MARKER = "rendering"
POLLS_A_SECOND = 2
PATIENCE = 6
"""How often the CPU time of a row may pass on the clock: the machine may be busy with other work."""

ENDED_BY_ITSELF = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)


class Watch:
    """An eye on the child of a job directory; `look` is called twice a second, and time is counted in looks.

    So a supervisor that was frozen together with its child does not take that for the template's slowness.
    """

    def __init__(self, directory: Path) -> None:
        self._marker = directory / MARKER
        self._row = ""
        self._looks = 0

    def look(self) -> None:
        """Raise JobFailed when the child has been at the same row for too long."""
        row = self._read()
        self._looks = self._looks + 1 if row == self._row else 0
        self._row = row
        seconds = settings().template_seconds * PATIENCE
        if row and self._looks > seconds * POLLS_A_SECOND:
            raise _invalid(f"it took longer than {seconds:g} s on the clock for {row}")

    def explain(self, code: int) -> None:
        """Raise JobFailed when the child ended by a signal that the template it was rendering brought about."""
        row = self._read()
        if row and code == -signal.SIGXCPU:
            raise _invalid(f"it took longer than {settings().template_seconds:g} s for {row}")
        if row and -code in ENDED_BY_ITSELF:
            raise _invalid(f"its process crashed ({signal.Signals(-code).name}) at {row}")

    def _read(self) -> str:
        return self._marker.read_text("utf-8") if self._marker.exists() else ""


def _invalid(why: str) -> JobFailed:
    message = f"The job's chat template cannot be used: {why}."
    return JobFailed(message, code="chat_template_invalid", param="chat_template")
