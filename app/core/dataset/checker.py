"""Reads a training or validation file once, line by line, and reports all that is wrong with it."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import BinaryIO

from app.core.dataset import lines, preferences, supervised, values
from app.core.dataset.lines import BadLine
from app.core.dataset.notes import Notes
from app.core.dataset.report import TRAINING, Part, Report

ASK_BYTES = 1 << 16
MAX_COMPARED_ROWS = 2_000_000  # about 100 bytes of memory each


ROWS: dict[str, Callable[[object, Notes], str | None]] = {
    "supervised": supervised.check_row,
    "dpo": preferences.check_row,
}
"""What checks a row and tells its format, by method."""


def check(
    file: BinaryIO,
    part: Part = TRAINING,
    *,
    method: str = "supervised",
    training: Report | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Report:
    """Check every row of a file for the method, one of ROWS.

    Takes one line into memory at a time, and a digest of each row. With the report on the training file, rows of the
    validation file that stand there too are warned of. Whatever the bytes are, they end in a report, never in an error;
    only what `go_on` raises, which is called at the beginning and every 64 KB, ends the reading early.
    """
    scan = _Scan(training.digests if training is not None else frozenset(), ROWS[method])
    size_bytes = asked_at = 0
    for number, raw, size in lines.read(file):
        if size_bytes >= asked_at:
            go_on()
            asked_at = size_bytes + ASK_BYTES
        size_bytes += size
        if not lines.is_blank(raw, size):
            scan.take(number, raw, size)
    notes = scan.notes
    return Report(
        part=part,
        format=scan.format,
        rows=scan.rows,
        size_bytes=size_bytes,
        findings=tuple(notes.findings),
        finding_count=notes.finding_count,
        warnings=notes.warnings(),
        digests=scan.digests,
    )


@dataclass(slots=True)
class _Scan:
    """What is known about a file so far."""

    training_digests: Set[bytes]
    check_row: Callable[[object, Notes], str | None]
    notes: Notes = field(default_factory=Notes)
    digests: set[bytes] = field(default_factory=set)
    format: str | None = None
    rows: int = 0

    def take(self, number: int, raw: bytes, size: int) -> None:
        """Check the next line that is not blank."""
        notes = self.notes
        if number > notes.line + 1:
            self._note_gap(number)
        notes.line = number
        self.rows += 1
        try:
            row = values.parse(raw, size)
        except BadLine as bad:
            notes.add(bad.path, bad.code, found=bad.found, expected=bad.expected, fix=bad.fix)
            return
        self._check_format(self.check_row(row, notes))
        self._compare(values.digest(row))

    def _note_gap(self, number: int) -> None:
        blank = number - self.notes.line - 1
        self.notes.line += 1
        self.notes.add(
            "$",
            "empty_line",
            found="an empty line" if blank == 1 else f"{blank} empty lines, up to line {number - 1}",
            expected="a row on every line; only the end of the file may be blank",
            fix="Remove the empty lines.",
        )

    def _check_format(self, found: str | None) -> None:
        if self.format is None:
            self.format = found
        elif found not in (None, self.format):
            self.notes.add(
                "$",
                "mixed_formats",
                found=f"a {found} row",
                expected=f"a {self.format} row, as the rows before",
                fix="Put chat rows and completion rows into files of their own.",
            )

    def _compare(self, digest: bytes) -> None:
        if digest in self.training_digests:
            self.notes.warn("row_in_training_file")
        if digest in self.digests:
            self.notes.warn("duplicate_row")
        elif len(self.digests) < MAX_COMPARED_ROWS:
            self.digests.add(digest)
        else:
            self.notes.warn("row_not_compared")
