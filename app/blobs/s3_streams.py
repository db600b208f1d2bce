"""Bytes to and from S3 while they flow: a writer in parts, and a reader, both with little in memory."""

import hashlib
import io
from contextlib import suppress
from typing import Any

from app.blobs.base import StorageError
from app.blobs.s3_client import MEGABYTE, s3_errors

PART = 8 * MEGABYTE  # 5 MB is the least that S3 takes, and 10,000 parts the most


class S3Writer:
    """Keeps one part in memory; what fits into it is stored in one request, anything larger in parts.

    Nothing is visible before `commit`. `size` is in bytes.
    """

    def __init__(self, client: Any, bucket: str, name: str) -> None:
        self._client = client
        self._place = {"Bucket": bucket, "Key": name}
        self._buffer = bytearray()
        self._upload = ""
        self._parts: list[dict[str, Any]] = []
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> int:
        """Append, and send each part that is full; raises StorageError."""
        self._hash.update(chunk)
        self.size += len(chunk)
        self._buffer += chunk
        while len(self._buffer) >= PART:
            part, self._buffer = self._buffer, self._buffer[PART:]
            del part[PART:]
            self._send(part)
        return len(chunk)

    def _send(self, part: bytearray) -> None:
        with s3_errors("Storage cannot be written"):
            if not self._upload:
                self._upload = self._client.create_multipart_upload(**self._place)["UploadId"]
            number = len(self._parts) + 1
            sent = self._client.upload_part(**self._place, UploadId=self._upload, PartNumber=number, Body=part)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def commit(self) -> None:
        """Make the bytes durable and visible; raises StorageError."""
        if self._upload and self._buffer:
            self._send(self._buffer)
        with s3_errors("Storage cannot be written"):
            if not self._upload:
                self._client.put_object(**self._place, Body=self._buffer)
            else:
                made = {"Parts": self._parts}
                self._client.complete_multipart_upload(**self._place, UploadId=self._upload, MultipartUpload=made)
        self._upload = ""

    def abort(self) -> None:
        """Leave nothing behind; parts that cannot be removed now are left to the sweep."""
        upload, self._upload = self._upload, ""
        if upload:
            with suppress(StorageError), s3_errors("Storage cannot be written"):
                self._client.abort_multipart_upload(**self._place, UploadId=upload)


class Download(io.RawIOBase):
    """The body of an object while it arrives; raises StorageError when the server falls silent or breaks off."""

    def __init__(self, body: Any, key: str) -> None:
        self._body = body
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with s3_errors(self._key):
            return int(self._body.readinto(buffer))

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()
