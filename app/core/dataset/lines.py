"""Bytes to lines of text; one line is the most that is ever in memory."""

from collections.abc import Iterator
from typing import BinaryIO

MAX_LINE_BYTES = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class BadLine(Exception):
    """A line that holds no usable JSON value; the attributes are those of a finding."""

    def __init__(self, code: str, *, found: str, expected: str, fix: str, path: str = "$") -> None:
        super().__init__(code)
        self.code, self.path, self.found, self.expected, self.fix = code, path, found, expected, fix


def read(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yield number (from 1), bytes and size of each line; a leading byte order mark is left out of the bytes.

    The size is in bytes, with the end of the line. Of a line over MAX_LINE_BYTES only the beginning is kept.
    """
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        size = len(raw)
        piece = raw
        while len(piece) > MAX_LINE_BYTES and not piece.endswith(b"\n"):
            piece = file.readline(MAX_LINE_BYTES + 1)
            size += len(piece)
        yield number, raw.removeprefix(_BOM) if number == 1 else raw, size


def is_blank(raw: bytes, size: int) -> bool:
    return size <= MAX_LINE_BYTES and (not raw or raw.isspace())


def text(raw: bytes, size: int) -> str:
    """Decode a line that `read` yielded. Raises BadLine."""
    if size > MAX_LINE_BYTES:
        raise BadLine(
            "line_too_long",
            found=f"{size} bytes on one line",
            expected=f"at most {MAX_LINE_BYTES} bytes a line",
            fix="Put each example on a line of its own, or shorten this one.",
        )
    if b"\0" in raw:
        raise BadLine(
            "nul_byte",
            found=f"a NUL as byte {raw.index(0) + 1} of the line",
            expected="text in UTF-8",
            fix="Save the file as UTF-8 (not UTF-16, not compressed) and remove NUL bytes.",
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadLine(
            "invalid_utf8",
            found=f"0x{raw[error.start]:02X} as byte {error.start + 1} of the line",
            expected="text in UTF-8",
            fix="Save the file as UTF-8, or correct this character.",
        ) from None
