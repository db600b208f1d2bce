"""Bytes by key in a directory that all processes share: streamed, and visible whole or not at all."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO

from app.config import require

CHUNK = 1 << 20


class StorageError(Exception):
    """Storage is away, full, or was asked for something impossible."""


class DirectoryWriter:
    """Writes beside the final place and renames at the end, so that a reader never sees half a file.

    `size` is in bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        self._file = self._partial.open("xb")
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> int:
        """Append; raises StorageError when the disk refuses."""
        try:
            self._file.write(chunk)
        except OSError as error:
            raise StorageError(f"Storage cannot be written: {error.strerror}") from error
        self._hash.update(chunk)
        self.size += len(chunk)
        return len(chunk)

    def commit(self) -> None:
        """Make the bytes durable and visible."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.rename(self._path)
        except OSError as error:
            raise StorageError(f"Storage cannot be written: {error.strerror}") from error
        _sync(self._path.parent)

    def abort(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._file.close()
        self._partial.unlink(missing_ok=True)


class Directory:
    """Storage in a directory. Keys are relative paths with `/`; a tree is every key below a prefix."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where a key lies.

        Raises StorageError for a key that would leave the directory.
        """
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or any(part in (".", "..") for part in parts) or "\0" in key:
            raise StorageError(f"{key!r} is no storage key")
        return self.root.joinpath(*parts)

    def writer(self, key: str) -> DirectoryWriter:
        """Open a key for writing."""
        try:
            return DirectoryWriter(self.path(key))
        except OSError as error:
            raise StorageError(f"Storage cannot be written: {error.strerror}") from error

    def put(self, key: str, content: bytes) -> DirectoryWriter:
        """Write small content at once and return the writer, which knows size and hash."""
        writer = self.writer(key)
        try:
            writer.write(content)
            writer.commit()
        except BaseException:
            writer.abort()
            raise
        return writer

    def open(self, key: str) -> IO[bytes]:
        """Open a key for reading.

        Raises StorageError when it is not there.
        """
        try:
            return self.path(key).open("rb")
        except OSError as error:
            raise StorageError(f"{key}: {error.strerror}") from error

    def fetch(self, key: str, target: Path) -> None:
        """Copy a key to a local file."""
        with self.open(key) as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy, CHUNK)

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def put_tree(self, prefix: str, source: Path) -> None:
        """Publish a local directory under a prefix, all of it at once; what is there already stays as it is."""
        target = self.path(prefix)
        if target.is_dir():
            return
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, partial, copy_function=_link_or_copy)
            for folder, _, _ in os.walk(partial):
                _sync(Path(folder))
            partial.rename(target)
            _sync(target.parent)
        except (OSError, shutil.Error) as error:
            if not target.is_dir():
                raise StorageError(f"{prefix} cannot be published: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def has_tree(self, prefix: str) -> bool:
        """Whether a directory is published under a prefix.

        Raises StorageError when storage itself is away, which must never look like an empty one.
        """
        if not self.root.is_dir():
            raise StorageError(f"{self.root} is not there")
        return self.path(prefix).is_dir()

    def fetch_tree(self, prefix: str, target: Path) -> None:
        """Copy a published directory to a local one.

        Raises StorageError when it is not there or does not fit.
        """
        try:
            shutil.copytree(self.path(prefix), target, copy_function=_link_or_copy)
        except (OSError, shutil.Error) as error:
            raise StorageError(f"{prefix} cannot be read: {error}") from error

    def tree(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The files below a prefix in order: path relative to it, and size in bytes."""
        root = self.path(prefix)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.stat().st_size

    def delete_tree(self, prefix: str) -> None:
        """Remove everything below a prefix; what is only linked to stays."""
        path = self.path(prefix)
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)

    def link(self, prefix: str, to: str) -> None:
        """Let `prefix` show what lies at `to`; repeated, it changes nothing."""
        path, target = self.path(prefix), self.path(to)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.symlink_to(os.path.relpath(target, path.parent))
            partial.replace(path)
        except OSError as error:
            raise StorageError(f"{prefix} cannot be linked: {error.strerror}") from error

    def ping(self) -> None:
        """Write and remove a probe.

        Raises StorageError when storage cannot be written.
        """
        key = f".ping-{uuid.uuid4().hex}"
        self.put(key, b"")
        self.delete(key)


def _link_or_copy(source: str, target: str) -> str:
    """Share the bytes where both lie on one file system: published files are never written again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with Path(target).open("rb+") as copy:
            os.fsync(copy.fileno())
    return target


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def storage() -> Directory:
    """This process' storage, from STORAGE_URL: a path or `file://` URL."""
    url = require("storage_url").storage_url
    if "://" in url and not url.startswith("file://"):
        raise StorageError(f"STORAGE_URL {url.split('://')[0]}:// is not supported: name a directory")
    return Directory(Path(url.removeprefix("file://")).absolute())
