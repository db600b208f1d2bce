"""What a caller may do with files. Bytes go straight to storage; a row makes them a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO

from app import blobs
from app.actions.pages import Page, cut
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, TooLarge, Unavailable
from app.core.job import File
from app.store import files
from app.store.db import autocommit, transaction

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MAX_FILENAME = 255
MEGABYTE = 1 << 20


class Upload:
    """Bytes on their way to storage, seen by nobody until they are kept."""

    def __init__(self) -> None:
        self.id = names.file_id()
        self.path = f"files/{self.id}"
        self.limit = settings().max_file_mb * MEGABYTE
        self.writer = blobs.storage().writer(self.path)

    def write(self, chunk: bytes) -> None:
        """Append. Raises TooLarge when the file grows over the limit."""
        if self.writer.size + len(chunk) > self.limit:
            raise too_large()
        self.writer.write(chunk)


def too_large() -> TooLarge:
    """The error of a file over the limit."""
    return TooLarge(f"The file is larger than {settings().max_file_mb} MB, the most this server takes.", param="file")


@contextmanager
def incoming(caller: Caller) -> Iterator[Upload]:
    """Receive bytes; unless `create` keeps them inside the block, nothing is left of them after it.

    Raises Unavailable when storage refuses.
    """
    caller.must("write")
    try:
        upload = Upload()
        try:
            yield upload
        finally:
            upload.writer.abort()
    except blobs.StorageError as error:
        raise Unavailable("Storage cannot be written; please try again.") from error


def create(caller: Caller, upload: Upload, *, filename: str, purpose: str) -> File:
    """Keep an upload as a file of the project.

    Raises Invalid for an unknown purpose, a name that is not usable or does not fit the purpose, or no bytes.
    """
    caller.must("write")
    if purpose not in PURPOSES:
        raise Invalid(f"'{purpose[:64]}' is not one of the purposes {', '.join(PURPOSES)}.", param="purpose")
    filename = _base_name(filename)
    if purpose == "fine-tune" and not filename.lower().endswith(".jsonl"):
        raise Invalid(
            f"Training files are JSON Lines: '{filename}' needs a name that ends in .jsonl.",
            param="file",
            code="invalid_file_format",
        )
    if upload.writer.size == 0:
        raise Invalid("The file is empty.", param="file")
    upload.writer.commit()
    try:
        with transaction() as conn:
            return files.insert(conn, _row(caller, upload, filename, purpose))
    except Unavailable:
        raise  # the row may have been committed all the same: then it must find its bytes
    except BaseException:
        blobs.storage().delete(upload.path)
        raise


def _row(caller: Caller, upload: Upload, filename: str, purpose: str) -> File:
    return File(
        id=upload.id,
        project_id=caller.project_id,
        filename=filename,
        purpose=purpose,
        bytes=upload.writer.size,
        sha256=upload.writer.sha256,
        path=upload.path,
        created_at=datetime.now(UTC),
    )


def _base_name(filename: str) -> str:
    name = filename.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or len(name) > MAX_FILENAME or not name.isprintable():
        raise Invalid(
            f"The file needs a name of 1 to {MAX_FILENAME} characters without control characters.", param="file"
        )
    return name


def page(caller: Caller, *, purpose: str | None, after: str | None, limit: int, ascending: bool) -> Page[File]:
    """The project's files of a purpose, or all, newest first unless `ascending`."""
    caller.must("read")
    with autocommit() as conn:
        found = files.page(conn, caller.project_id, purpose=purpose, after=after, limit=limit + 1, ascending=ascending)
    return cut(found, limit)


def retrieve(caller: Caller, file_id: str) -> File:
    """The project's file. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        return files.get(conn, caller.project_id, file_id)


def content(caller: Caller, file_id: str) -> tuple[File, IO[bytes]]:
    """The project's file, and its bytes opened for reading. Raises Unknown, and Unavailable when they are away."""
    file = retrieve(caller, file_id)
    try:
        return file, blobs.storage().open(file.path)
    except blobs.StorageError as error:
        raise Unavailable(f"The content of {file.id} cannot be read from storage.") from error


def delete(caller: Caller, file_id: str) -> File:
    """Take a file out of the API; jobs that were created with it keep their data. Raises Unknown."""
    caller.must("write")
    with transaction() as conn:
        return files.delete(conn, caller.project_id, file_id)
