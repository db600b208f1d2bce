"""Bytes by key, in storage that all processes share: a directory, or a bucket that speaks S3."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from app.blobs.base import CHUNK, Storage, StorageError, Stored, Writer
from app.blobs.directory import Directory
from app.config import require

__all__ = ["CHUNK", "Directory", "Storage", "StorageError", "Stored", "Writer", "storage"]


@cache
def storage() -> Storage:
    """This process' storage, from STORAGE_URL: a path, a `file://` URL, or `s3://bucket/prefix`.

    Raises StorageError for another URL.
    """
    url = require("storage_url").storage_url
    if url.startswith("s3://"):
        from app.blobs.s3 import S3  # boto3 costs memory and start-up time: only who uses it pays

        place = urlsplit(url)
        return S3(place.netloc, place.path)
    if "://" in url and not url.startswith("file://"):
        raise StorageError(f"STORAGE_URL {url.split('://')[0]}:// is not supported: name a directory or s3://bucket")
    return Directory(Path(url.removeprefix("file://")).absolute())
