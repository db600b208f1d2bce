"""Notes: what has been found so far while a file is read; the first are listed, all are counted."""

from typing import Any

from app.core.dataset.findings import LISTED, TEXT_CHARACTERS, Finding, RowWarning, cut, quoted, shown

_NAMES_KEPT = 10


class Notes:
    """Collects findings and warnings for the line that is being checked.

    Once LISTED findings are kept the further ones are only counted, so memory is bounded however broken the file is.
    """

    def __init__(self) -> None:
        self.line = 0
        self.findings: list[Finding] = []
        self.finding_count = 0
        self._tallies: dict[str, _Tally] = {}

    def add(self, path: str, code: str, *, found: str, expected: str, fix: str) -> None:
        """Note a finding whose `found` is in words already."""
        self.finding_count += 1
        if len(self.findings) < LISTED:
            self.findings.append(Finding(self.line, cut(path, TEXT_CHARACTERS), code, found, expected, fix))

    def wrong(self, path: str, code: str, value: object, *, expected: str, fix: str) -> None:
        """Note that the JSON value at the path is not what is expected there."""
        if len(self.findings) < LISTED:
            self.add(path, code, found=shown(value), expected=expected, fix=fix)
        else:
            self.finding_count += 1

    def warn(self, code: str, name: str | None = None) -> None:
        """Note a warning about this line, perhaps with the key it is about; a line counts once per code."""
        tally = self._tallies.setdefault(code, _Tally())
        if tally.last_line != self.line:
            tally.last_line = self.line
            tally.count += 1
            if len(tally.lines) < LISTED:
                tally.lines.append(self.line)
        if name is not None and len(tally.names) < _NAMES_KEPT:
            tally.names[quoted(name)] = None

    def warn_of_keys(self, value: dict[str, Any], known: frozenset[str]) -> None:
        """Warn of the keys of an object that are not known."""
        for key in value:
            if key not in known:
                self.warn("unrecognized_key", key)

    def warnings(self) -> tuple[RowWarning, ...]:
        return tuple(
            RowWarning.of(code, lines=tally.lines, count=tally.count, names=list(tally.names))
            for code, tally in self._tallies.items()
        )


class _Tally:
    def __init__(self) -> None:
        self.lines: list[int] = []
        self.names: dict[str, None] = {}  # in order of appearance
        self.count = 0
        self.last_line = 0
