"""What is wrong with a training file, in words: findings stop a job, warnings do not; every text in them is bounded.

The texts hold neither NUL nor lone surrogates, so any database and any JSON reader takes them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

LISTED = 100  # findings listed in a report, and lines listed in a warning; the rest is only counted
FOUND_CHARACTERS = 80
TEXT_CHARACTERS = 300

ABSENT = object()  # stands for the value of a key that is not there

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_NAMES_SHOWN = 8
_LINES_SHOWN = 10

SUBJECTS = {
    "duplicate_row": "Rows that repeat an earlier row",
    "row_in_training_file": "Rows that are in the training file too, so that they measure memory rather than learning",
    "unrecognized_key": "Rows with keys that training does not read",
    "empty_content": "Rows with a message or prompt that is empty",
    "last_message_not_assistant": "Rows whose last message is not the assistant's, so that nothing is learned from it",
    "arguments_not_json": "Rows with a call whose arguments are no JSON object",
    "row_cut": "Rows longer than the model reads, cut at the end",
    "row_not_compared": "Rows too far down the file to be compared with the others for repetition",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must be mended before training."""

    line: int  # from 1
    path: str  # JSON path inside the line, such as $.messages[2].role
    code: str
    found: str
    expected: str
    fix: str

    @classmethod
    def from_dict(cls, wire: Mapping[str, Any]) -> Self:
        """Read a finding that another process wrote, cutting what is too long.

        Raises KeyError for a missing member and ValueError or TypeError for a line that is no number.
        """
        return cls(
            line=int(wire["line"]),
            path=cut(str(wire["path"]), TEXT_CHARACTERS),
            code=cut(str(wire["code"]), FOUND_CHARACTERS),
            found=cut(str(wire["found"]), FOUND_CHARACTERS),
            expected=cut(str(wire["expected"]), TEXT_CHARACTERS),
            fix=cut(str(wire["fix"]), TEXT_CHARACTERS),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        return f"Line {self.line}, {self.path}: found {self.found}; expected {self.expected}. {self.fix}"


@dataclass(frozen=True, slots=True)
class RowWarning:
    """One thing worth knowing about some rows, which are trained on all the same."""

    code: str
    message: str
    lines: tuple[int, ...]  # the first LISTED
    count: int  # rows, all of them

    @classmethod
    def of(cls, code: str, *, lines: Sequence[int], count: int, names: Sequence[str] = ()) -> Self:
        """Word a warning; the code is one of SUBJECTS, the names are the keys it is about."""
        subject = SUBJECTS[code] + (f" ({', '.join(names)})" if names else "")
        shown_lines = ", ".join(str(line) for line in lines[:_LINES_SHOWN]) + (", …" if count > _LINES_SHOWN else "")
        noun = "line" if count == 1 else "lines"
        return cls(code, f"{subject}: {count} ({noun} {shown_lines})", tuple(lines[:LISTED]), count)

    def as_dict(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "lines": list(self.lines), "count": self.count}


def cut(text: str, characters: int) -> str:
    """Make a text printable, and at most so many characters long."""
    text = text[: characters + 1].replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= characters else text[: characters - 1] + "…"


def quoted(text: str) -> str:
    """Show a string as JSON writes it, cut to FOUND_CHARACTERS."""
    return cut(json.dumps(text[:FOUND_CHARACTERS], ensure_ascii=False), FOUND_CHARACTERS)


def shown(value: object) -> str:
    """Describe a JSON value, or ABSENT, in at most FOUND_CHARACTERS characters."""
    if value is ABSENT:
        return "nothing"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if not isinstance(value, dict):
        return cut(json.dumps(value), FOUND_CHARACTERS)
    if not value:
        return "an empty object"
    keys = ", ".join(quoted(key) for key in list(value)[:_NAMES_SHOWN])
    return cut(f"an object with {keys}", FOUND_CHARACTERS)


def member(path: str, key: str) -> str:
    """Return the JSON path of a key of the object at the path."""
    return f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[{quoted(key)}]"
