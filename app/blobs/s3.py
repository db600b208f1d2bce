"""Storage in a bucket that speaks S3.

S3 has no rename, so a tree is published by its marker: an object that is written last, removed first, and lists the
files. Without a marker there is no tree, whatever else lies there.
"""

import io
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from app.blobs.base import CHUNK, Missing, StorageError, Stored, checked, written
from app.blobs.s3_client import COPIES, MEGABYTE, TRANSFERS, connect, s3_errors
from app.blobs.s3_streams import Download, S3Writer

MARKER = ".tree"
LONGEST_MARKER = 16 * MEGABYTE


class S3:
    """Storage in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        if not bucket:
            raise StorageError("STORAGE_URL names no bucket: s3://bucket or s3://bucket/prefix")
        self._bucket = bucket
        self._prefix = f"{checked(prefix.strip('/'))}/" if prefix.strip("/") else ""
        self._clients: dict[int, Any] = {}

    @property
    def _client(self) -> Any:
        """The client of this process: its connections must not be shared with the process that forked us."""
        pid = os.getpid()
        if pid not in self._clients:
            self._clients[pid] = connect()
        return self._clients[pid]

    def _name(self, key: str) -> str:
        return self._prefix + checked(key)

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._name(key)}

    def location(self, key: str) -> str:
        """The `s3://` URL of a key."""
        return f"s3://{self._bucket}/{self._name(key)}"

    def writer(self, key: str) -> S3Writer:
        """Open a key for writing; nothing is sent before the first part is full."""
        return S3Writer(self._client, self._bucket, self._name(key))

    def put(self, key: str, content: bytes) -> S3Writer:
        """Write small content at once and return the writer, which knows size and hash."""
        return written(self.writer(key), content)

    def open(self, key: str) -> IO[bytes]:
        """Open a key for reading.

        Raises StorageError when it is not there.
        """
        with s3_errors(key):
            body = self._client.get_object(**self._place(key))["Body"]
        return io.BufferedReader(Download(body, key), CHUNK)

    def fetch(self, key: str, target: Path) -> None:
        """Copy a key to a local file, large ones in several streams."""
        with s3_errors(key):
            self._client.download_file(self._bucket, self._name(key), str(target), Config=TRANSFERS)

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        with s3_errors(key):
            self._client.delete_object(**self._place(key))

    def put_tree(self, prefix: str, source: Path) -> None:
        """Publish a local directory under a prefix, all of it at once; what is there already stays as it is."""
        if not source.is_dir():
            raise StorageError(f"{prefix} cannot be published: {source} is no directory")
        if self.has_tree(prefix):
            return
        sizes: dict[str, int] = {}
        with s3_errors(f"{prefix} cannot be published"):
            for path in sorted(source.rglob("*")):
                if path.is_file():
                    relative = path.relative_to(source).as_posix()
                    sizes[relative] = path.stat().st_size
                    name = self._name(f"{prefix}/{relative}")
                    self._client.upload_file(str(path), self._bucket, name, Config=TRANSFERS)
        self._mark(prefix, sizes)

    def gather(self, prefix: str, keys: Mapping[str, str]) -> None:
        """Publish a directory of stored keys by their names in it; the keys may go then, `prefix` must be new."""
        sizes: dict[str, int] = {}
        with s3_errors(f"{prefix} cannot be published"):
            for name, key in sorted(keys.items()):
                sizes[name] = self._client.head_object(**self._place(key))["ContentLength"]
                self._client.copy(self._place(key), self._bucket, self._name(f"{prefix}/{name}"), Config=COPIES)
        self._mark(prefix, sizes)

    def _mark(self, prefix: str, sizes: dict[str, int]) -> None:
        self.put(marker(prefix), json.dumps({"files": sizes}, indent=1).encode())

    def _sizes(self, prefix: str) -> dict[str, int]:
        """The files of a published directory, by their size in bytes.

        Raises Missing when there is none, and StorageError for a marker that is not ours.
        """
        with self.open(marker(prefix)) as found:
            text = found.read(LONGEST_MARKER)
        try:
            return {checked(path): int(size) for path, size in json.loads(text)["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{marker(prefix)} cannot be read") from error

    def has_tree(self, prefix: str) -> bool:
        """Whether a directory is published under a prefix."""
        try:
            self._sizes(prefix)
        except Missing:
            return False
        return True

    def fetch_tree(self, prefix: str, target: Path, *, below: str = "") -> None:
        """Copy a published directory, or a folder below it, to a local one.

        Raises StorageError when it is not there, does not fit, or lost a file.
        """
        inside = f"{below}/" if below else ""
        sizes = {path: size for path, size in self._sizes(prefix).items() if path.startswith(inside)}
        with s3_errors(f"{prefix} cannot be read"):
            target.mkdir()
            for relative, size in sizes.items():
                path = target / relative.removeprefix(inside)
                path.parent.mkdir(parents=True, exist_ok=True)
                self.fetch(f"{prefix}/{relative}", path)
                if path.stat().st_size != size:
                    raise StorageError(f"{prefix}/{relative} does not have the {size} bytes it was published with")

    def tree(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The files of a published directory in order: path relative to it, and size in bytes."""
        try:
            yield from sorted(self._sizes(prefix).items())
        except Missing:
            return

    def delete_tree(self, prefix: str) -> None:
        """Unpublish a directory by its marker, then remove all below it."""
        self.delete(marker(prefix))
        for found in self._objects(f"{prefix}/"):
            self.delete(found.key)

    def link(self, prefix: str, to: str) -> None:
        """Let `prefix` show the directory published at `to`: the server copies it, since it knows no links."""
        if self.has_tree(prefix):
            return
        sizes = self._sizes(to)
        with s3_errors(f"{prefix} cannot be linked"):
            for relative in sizes:
                source = self._place(f"{to}/{relative}")
                self._client.copy(source, self._bucket, self._name(f"{prefix}/{relative}"), Config=COPIES)
        self._mark(prefix, sizes)

    def stored(self, place: str) -> Iterator[Stored]:
        """The objects below a place by name, then the uploads in parts that were not ended."""
        yield from self._objects(f"{place}/")
        yield from self._uploads(f"{place}/")

    def _objects(self, below: str) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_objects_v2")
        with s3_errors("Storage cannot be listed"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + below):
                for found in page.get("Contents", ()):
                    yield Stored(found["Key"].removeprefix(self._prefix), found["LastModified"])

    def _uploads(self, below: str) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_multipart_uploads")
        with s3_errors("Storage cannot be listed"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + below):
                for found in page.get("Uploads", ()):
                    with suppress(Missing):  # ended since
                        modified = max([found["Initiated"], *self._parts(found["Key"], found["UploadId"])])
                        yield Stored(found["Key"].removeprefix(self._prefix), modified, found["UploadId"])

    def _parts(self, name: str, upload: str) -> list[datetime]:
        """When the parts of an upload came: one that is fed for long is as old as its newest part."""
        pages = self._client.get_paginator("list_parts")
        with s3_errors(name):
            found = list(pages.paginate(Bucket=self._bucket, Key=name, UploadId=upload))
        return [part["LastModified"] for page in found for part in page.get("Parts", ())]

    def discard(self, found: Stored) -> None:
        """Remove an object, or the parts of an upload."""
        with suppress(Missing), s3_errors(found.key):
            if found.upload:
                self._client.abort_multipart_upload(**self._place(found.key), UploadId=found.upload)
            else:
                self._client.delete_object(**self._place(found.key))

    def ping(self) -> None:
        """Write and remove a probe.

        Raises StorageError when storage cannot be written.
        """
        key = f"pings/{uuid.uuid4().hex}"
        self.put(key, b"")
        self.delete(key)


def marker(prefix: str) -> str:
    """The key of the object that makes a tree of what lies below a prefix."""
    return f"{checked(prefix)}/{MARKER}"
