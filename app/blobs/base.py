"""What storage does, whatever it is made of: bytes by key, streamed, and visible whole or not at all.

Keys are relative paths with `/`; a tree is a directory published under a prefix.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, TypeVar

CHUNK = 1 << 20


class StorageError(Exception):
    """Storage is away, full, or was asked for something impossible."""


class Missing(StorageError):
    """Storage answers, and has nothing under this key."""


@dataclass(frozen=True)
class Stored:
    """Something that takes up room, visible or not; `modified` is when it last changed.

    `upload` is the id of an upload in parts that was not ended, else empty.
    """

    key: str
    modified: datetime
    upload: str = ""


class Writer(Protocol):
    """Bytes on their way to a key; `size` is in bytes. Every method raises StorageError, but for `abort`."""

    size: int

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hex."""

    def write(self, chunk: bytes) -> int:
        """Append."""

    def commit(self) -> None:
        """Make the bytes durable and visible."""

    def abort(self) -> None:
        """Leave nothing behind; what was committed stays."""


class Storage(Protocol):
    """Every method raises StorageError when storage is away, which never looks like an empty one."""

    def writer(self, key: str) -> Writer:
        """Open a key for writing."""

    def put(self, key: str, content: bytes) -> Writer:
        """Write small content at once and return the writer, which knows size and hash."""

    def open(self, key: str) -> IO[bytes]:
        """Open a key for reading, which must be there."""

    def fetch(self, key: str, target: Path) -> None:
        """Copy a key, which must be there, to a local file."""

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""

    def put_tree(self, prefix: str, source: Path) -> None:
        """Publish a local directory under a prefix, all of it at once; what is there already stays as it is."""

    def gather(self, prefix: str, keys: Mapping[str, str]) -> None:
        """Publish a directory of stored keys by their names in it; the keys may go then, `prefix` must be new."""

    def has_tree(self, prefix: str) -> bool:
        """Whether a directory is published under a prefix."""

    def fetch_tree(self, prefix: str, target: Path, *, below: str = "") -> None:
        """Copy a published directory, which must be there, to a local one, which must not; or a folder `below` it."""

    def tree(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The files of a published directory in order: path relative to it, and size in bytes."""

    def delete_tree(self, prefix: str) -> None:
        """Unpublish a directory at once, then remove it; what is only linked to stays."""

    def link(self, prefix: str, to: str) -> None:
        """Let `prefix` show the directory published at `to`; repeated, it changes nothing."""

    def location(self, key: str) -> str:
        """Where an operator finds a key: a path or an `s3://` URL."""

    def stored(self, place: str) -> Iterator[Stored]:
        """Whatever lies below a place, what is unfinished or hidden included; found while it is asked for."""

    def discard(self, found: Stored) -> None:
        """Remove one such thing, if it is still there."""

    def ping(self) -> None:
        """Write and remove a probe."""


W = TypeVar("W", bound=Writer)


def written(writer: W, content: bytes) -> W:
    """The writer, with all of the content behind its key, or with nothing left of it."""
    try:
        writer.write(content)
        writer.commit()
    except BaseException:
        writer.abort()
        raise
    return writer


def checked(key: str) -> str:
    """The key in its one spelling.

    Raises StorageError for a key that would lead out of storage.
    """
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or any(part in (".", "..") for part in parts) or "\0" in key:
        raise StorageError(f"{key!r} is no storage key")
    return "/".join(parts)
