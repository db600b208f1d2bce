"""Bytes on their way to storage: seen by nobody until they are kept, and gone when they are not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app import blobs
from app.core.errors import JobServiceError, Unavailable

MEGABYTE = 1 << 20
_END, _TEXT, _BLANKS = b"\n", b"x", b" \t\r\v\f"
_MARKS = bytes.maketrans(bytes(range(256)), _TEXT * 10 + _END + _TEXT * 245)
"""Of all bytes only the ends of lines stay what they are."""


class RowCount:
    """How many rows bytes have that come in chunks: lines with more than white space."""

    def __init__(self) -> None:
        self.total = 0
        self._last = _END

    def add(self, chunk: bytes) -> None:
        """Count on; a row counts as soon as it begins."""
        marks = self._last + chunk.translate(_MARKS, _BLANKS)
        self.total += marks.count(_END + _TEXT)
        self._last = marks[-1:]


class Incoming:
    """Bytes that are being received, at most `limit` of them, up to the `last`; `rows`, if set, counts theirs."""

    def __init__(self, path: str, *, limit: int, too_large: Callable[[], JobServiceError]) -> None:
        self.path = path
        self.limit = limit
        self.too_large = too_large
        self.rows: RowCount | None = None
        self.last = b""
        self.writer = blobs.storage().writer(path)

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self.writer.size

    def write(self, chunk: bytes) -> None:
        """Append. Raises the error of `too_large` when there would be more than `limit`."""
        if self.writer.size + len(chunk) > self.limit:
            raise self.too_large()
        self.writer.write(chunk)
        self.last = chunk[-1:] or self.last
        if self.rows is not None:
            self.rows.add(chunk)


@contextmanager
def receive(path: str, *, limit: int, too_large: Callable[[], JobServiceError]) -> Iterator[Incoming]:
    """Receive bytes; unless they are `kept` inside the block, nothing is left of them after it.

    Raises Unavailable when storage refuses.
    """
    try:
        incoming = Incoming(path, limit=limit, too_large=too_large)
        try:
            yield incoming
        finally:
            incoming.writer.abort()
    except blobs.StorageError as error:
        raise Unavailable("Storage cannot be written; please try again.") from error


@contextmanager
def kept(incoming: Incoming) -> Iterator[None]:
    """Keep the bytes for the row that the block writes; when it writes none, they go again."""
    incoming.writer.commit()
    try:
        yield
    except Unavailable:
        raise  # the row may have been committed all the same: then it must find its bytes
    except BaseException:
        blobs.storage().delete(incoming.path)
        raise
