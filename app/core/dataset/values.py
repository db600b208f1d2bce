"""Lines to JSON values, refusing what other readers of the same line would read differently or not at all."""

import json
import marshal
import math
import re
from collections import Counter
from hashlib import sha256
from operator import itemgetter
from typing import Any

from app.core.dataset import lines
from app.core.dataset.findings import FOUND_CHARACTERS, cut, member, quoted
from app.core.dataset.lines import BadLine
from app.core.dataset.trees import deeper_than, walk

MAX_DEPTH = 100  # objects and lists inside each other
MAX_DIGITS = 1000  # of an integer

_NEAR_CHARACTERS = 20
_WITHOUT_REFERENCES = 2  # the newest marshal format that writes equal values as equal bytes
_KEY = itemgetter(0)
_UNFIT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT_CHARACTER = re.compile("[\0\ud800-\udfff]")


def parse(raw: bytes, size: int) -> Any:
    """Return the JSON value on a line that `lines.read` yielded, the keys of its objects in order. Raises BadLine."""
    text = lines.text(raw, size)
    try:
        value = _STRICT.decode(text)
    except _DoubledKey as doubled:
        raise _doubled_key(text, doubled.key) from None
    except _BadNumber as bad:
        raise _bad_number(bad.literal) from None
    except json.JSONDecodeError as error:
        raise _not_json(text, error) from None
    except RecursionError:
        raise _too_deep() from None
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise _too_deep()
    if b"\\" in raw and _UNFIT_ESCAPE.search(raw):
        _refuse_unfit_strings(value)
    return value


def digest(value: Any) -> bytes:
    """Return 16 bytes that tell the values of `parse` apart, however their texts were spaced, escaped or ordered."""
    return sha256(marshal.dumps(value, _WITHOUT_REFERENCES)).digest()[:16]


class _DoubledKey(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _BadNumber(Exception):
    def __init__(self, literal: str) -> None:
        super().__init__()
        self.literal = literal


class _DoubledObject(dict[str, Any]):
    """An object that names a key more than once."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > 1:
        pairs.sort(key=_KEY)
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    times = Counter(key for key, _ in pairs)
    raise _DoubledKey(next(key for key in times if times[key] > 1))


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else _DoubledObject(value)


def _refuse_constant(literal: str) -> float:
    raise _BadNumber(literal)


def _float(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise _BadNumber(literal)
    return number


def _int(literal: str) -> int:
    if len(literal) > MAX_DIGITS:
        raise _BadNumber(literal)
    return int(literal)


_NUMBERS: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _float, "parse_int": _int}
_STRICT = json.JSONDecoder(object_pairs_hook=_unique, **_NUMBERS)
_MARKING = json.JSONDecoder(object_pairs_hook=_marked, **_NUMBERS)


def _doubled_key(text: str, key: str) -> BadLine:
    try:
        doubled = (path for path, value in walk(_MARKING.decode(text)) if isinstance(value, _DoubledObject))
        path = next(doubled, "$")
    except (ValueError, _BadNumber, RecursionError):  # the rest of the line is broken too
        path = "$"
    return BadLine(
        "duplicate_key",
        path=member(path, key),
        found=cut(f"the key {quoted(key)} more than once in one object", FOUND_CHARACTERS),
        expected="each key once",
        fix="Keep one of them.",
    )


def _bad_number(literal: str) -> BadLine:
    return BadLine(
        "invalid_number",
        found=cut(literal, FOUND_CHARACTERS),
        expected=f"a finite number of at most {MAX_DIGITS} digits",
        fix="Write a smaller number, a string or null.",
    )


def _not_json(text: str, error: json.JSONDecodeError) -> BadLine:
    rest = text[error.pos : error.pos + _NEAR_CHARACTERS].strip()
    return BadLine(
        "invalid_json",
        found=cut(f"column {error.pos + 1}: {error.msg}, at {quoted(rest) if rest else 'the end'}", FOUND_CHARACTERS),
        expected="one JSON object on one line",
        fix="Write each example as JSON on a single line, without commas between lines.",
    )


def _too_deep() -> BadLine:
    return BadLine(
        "nested_too_deep",
        found=f"more than {MAX_DEPTH} objects and lists inside each other",
        expected=f"at most {MAX_DEPTH} levels",
        fix="Flatten the row, or write the deep part as a string.",
    )


def _refuse_unfit_strings(value: object) -> None:
    for path, node in walk(value):
        if isinstance(node, str) and (unfit := _UNFIT_CHARACTER.search(node)):
            raise BadLine(
                "invalid_character",
                path=path,
                found=cut(f"\\u{ord(unfit.group()):04x} in {quoted(node)}", FOUND_CHARACTERS),
                expected="text without \\u0000, and surrogates only in pairs such as \\ud83d\\ude00",
                fix="Remove this character, or write the character that is meant.",
            )
