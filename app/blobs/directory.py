"""Storage in a directory that all processes share: what is written appears by a rename."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO

from app.blobs.base import CHUNK, StorageError, Stored, checked, written


class DirectoryWriter:
    """Writes beside the final place and renames at the end, so that a reader never sees half a file.

    `size` is in bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = _beside(path)
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
    """Storage in a directory; a tree is a directory in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where a key lies.

        Raises StorageError for a key that would leave the directory.
        """
        return self.root / checked(key)

    def location(self, key: str) -> str:
        """The absolute path of a key."""
        return str(self.path(key))

    def writer(self, key: str) -> DirectoryWriter:
        """Open a key for writing."""
        try:
            return DirectoryWriter(self.path(key))
        except OSError as error:
            raise StorageError(f"Storage cannot be written: {error.strerror}") from error

    def put(self, key: str, content: bytes) -> DirectoryWriter:
        """Write small content at once and return the writer, which knows size and hash."""
        return written(self.writer(key), content)

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
        partial = _beside(target)
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

    def gather(self, prefix: str, keys: Mapping[str, str]) -> None:
        """Publish a directory of stored keys by their names in it; the keys may go then, `prefix` must be new."""
        target = self.path(prefix)
        partial = _beside(target)
        try:
            partial.mkdir(parents=True)
            for name, key in keys.items():
                _link_or_copy(str(self.path(key)), str(partial / checked(name)))
            _sync(partial)
            partial.rename(target)
            _sync(target.parent)
        except OSError as error:
            raise StorageError(f"{prefix} cannot be published: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def has_tree(self, prefix: str) -> bool:
        """Whether a directory is published under a prefix.

        Raises StorageError when storage itself is away, which must never look like an empty one.
        """
        self._must_be_there()
        return self.path(prefix).is_dir()

    def _must_be_there(self) -> None:
        if not self.root.is_dir():
            raise StorageError(f"{self.root} is not there")

    def fetch_tree(self, prefix: str, target: Path, *, below: str = "") -> None:
        """Copy a published directory, or a folder below it, to a local one.

        Raises StorageError when it is not there or does not fit.
        """
        try:
            shutil.copytree(self.path(prefix) / below, target, copy_function=_link_or_copy)
        except (OSError, shutil.Error) as error:
            raise StorageError(f"{prefix} cannot be read: {error}") from error

    def tree(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The files below a prefix in order: path relative to it, and size in bytes.

        Raises StorageError when storage itself is away.
        """
        self._must_be_there()
        root = self.path(prefix)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.stat().st_size

    def delete_tree(self, prefix: str) -> None:
        """Remove everything below a prefix, hidden first, so that nobody reads half of it; a link's target stays."""
        path = self.path(prefix)
        doomed = _beside(path)
        with suppress(OSError):
            if path.is_symlink():
                path.unlink()
            else:
                path.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)

    def link(self, prefix: str, to: str) -> None:
        """Let `prefix` show what lies at `to`; repeated, it changes nothing."""
        path, target = self.path(prefix), self.path(to)
        partial = _beside(path)
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
        key = f"pings/{uuid.uuid4().hex}"
        self.put(key, b"")
        self.delete(key)

    def stored(self, place: str) -> Iterator[Stored]:
        """The files, links and empty directories below a place, in no order."""
        yield from self._below(self.path(place))

    def _below(self, folder: Path) -> Iterator[Stored]:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if not entry.is_dir(follow_symlinks=False):
                    yield from self._seen(path)
                    continue
                inside = self._below(path)
                first = next(inside, None)
                yield from self._seen(path) if first is None else chain([first], inside)

    def _seen(self, path: Path) -> Iterator[Stored]:
        with suppress(FileNotFoundError):
            found = path.lstat()
            # A published file keeps the time of its source, but becoming visible is a change of its own.
            changed = datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), UTC)
            yield Stored(path.relative_to(self.root).as_posix(), changed)

    def discard(self, found: Stored) -> None:
        """Remove a file, a link, or a directory that is still empty, and the directories that this leaves empty."""
        path = self.path(found.key)
        if path.is_symlink() or not path.is_dir():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{found.key} cannot be removed: {error.strerror}") from error
            path = path.parent
        with suppress(OSError):
            while path.parent != self.root:  # a place stays
                path.rmdir()
                path = path.parent


def _beside(path: Path) -> Path:
    """A hidden name in the same directory, for what is not whole."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


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
