"""report: what validation would say of files, and how many tokens they hold, before there is a job."""

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app import logs
from app.blobs import StorageError
from app.config import require
from app.core.dataset import Report
from app.core.errors import JobFailed, Unavailable
from app.core.hyperparameters import resolve
from app.core.job import DataReport
from app.store import reports
from app.store.db import transaction
from workers import jobdir, scratch
from workers.supervision import Stopped, Surrendered, shutting_down
from workers.validation import check_rows, count_tokens, joined, totals

BEATS = 6  # in the time of a lease

log = logging.getLogger(__name__)


class Turn:
    """A hold on a report. Use as a context manager: its lease is renewed inside the block."""

    def __init__(self, report: DataReport, *, lease_seconds: float) -> None:
        self._report = report
        self._lease_seconds = lease_seconds
        self._lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {report.id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def go_on(self) -> None:
        """Raise Stopped when another has the report, or this worker is about to end."""
        if self._lost or shutting_down.value:
            raise Stopped

    def _beat(self) -> None:
        while not self._lost and not self._done.wait(self._lease_seconds / BEATS):
            try:
                with transaction() as conn:
                    self._lost = not reports.renew(conn, self._report, lease_seconds=self._lease_seconds)
            except Unavailable as error:
                log.warning("lease not renewed: %s", error.message)


def make(report_id: str) -> None:
    """Make a report, if it is free; what keeps it from being made now is left to the next who asks for it."""
    lease_seconds = require("database_url", "storage_url").lease_seconds
    with logs.bound(report_id=report_id):
        with transaction() as conn:
            report = reports.claim(conn, report_id, lease_seconds=lease_seconds)
        if report is None:
            log.info("message dropped: made already, or another worker has it")
            return
        try:
            with Turn(report, lease_seconds=lease_seconds) as turn:
                content = _content(report, turn)
            with transaction() as conn:
                reports.finish(conn, report, content)
        except (Stopped, Surrendered, StorageError, Unavailable) as error:
            log.warning("let go: %r", error)
            _surrender(report)


def _surrender(report: DataReport) -> None:
    try:
        with transaction() as conn:
            reports.surrender(conn, report)
    except Unavailable as error:
        log.warning("not surrendered, the lease will lapse: %s", error.message)


def _content(report: DataReport, turn: Turn) -> dict[str, Any]:
    try:
        with scratch.directory(report) as directory:
            found = jobdir.fetch_rows(report, directory)
            checked = check_rows(turn, directory, found, report.spec)
            usable = not any(each.error() for each in checked.values())
            counts = _counts(report, turn, directory, checked) if usable and report.spec["base"] else {}
    except JobFailed as error:
        return failure(error)
    files = [{"id": report.spec[role], **each.as_dict(), **counts.get(role, {})} for role, each in checked.items()]
    return {"files": files, "error": next((file["error"] for file in files if file["error"]), None)}


def _counts(report: DataReport, turn: Turn, directory: Path, checked: dict[str, Report]) -> dict[str, dict[str, Any]]:
    """Tokens by role; what the tokenizer's process found joins the reports."""
    asked = report.spec["hyperparameters"]
    hyperparameters = resolve(
        asked, jobdir.base_model(report), method=report.spec["method"], rows=checked["training_file"].rows
    )
    jobdir.write_report_spec(report, directory, hyperparameters=hyperparameters.as_dict())
    counts = {}
    for role, counted in count_tokens(turn, directory).items():
        checked[role] = joined(checked[role], counted)
        counts[role] = {**totals(counted), "cut_rows": counted["cut"]["count"]}
    return counts


def failure(error: JobFailed) -> dict[str, Any]:
    """The content of a report that cannot be made: the error that a job would fail with."""
    return {"files": [], "error": {"code": error.code, "message": error.message, "param": error.param}}
