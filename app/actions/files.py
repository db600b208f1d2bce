"""What a caller may do with files. Bytes go straight to storage; a row makes them a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO

from app import blobs
from app.actions.incoming import MEGABYTE, Incoming, RowCount, kept, receive
from app.actions.pages import Page, cut
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, TooLarge, Unavailable
from app.core.job import File
from app.store import datasets, files
from app.store.db import Connection, Row, autocommit, transaction

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MAX_FILENAME = 255


def too_large() -> TooLarge:
    """The error of a file over the limit."""
    return TooLarge(f"The file is larger than {settings().max_file_mb} MB, the most this server takes.", param="file")


@contextmanager
def incoming(caller: Caller) -> Iterator[Incoming]:
    """Receive a file; unless `create` keeps it inside the block, nothing is left of it after it.

    Raises Unavailable when storage refuses.
    """
    caller.must("write")
    with receive(_path(names.file_id()), limit=settings().max_file_mb * MEGABYTE, too_large=too_large) as received:
        received.rows = RowCount()
        yield received


def create(caller: Caller, received: Incoming, *, filename: str, purpose: str, lifetime: int | None = None) -> File:
    """Keep what was received as a file of the project, for `lifetime` seconds or for good.

    Raises Invalid for an unknown purpose, a name that is not usable or does not fit the purpose, or no bytes.
    """
    caller.must("write")
    filename = usable_name(filename, purpose, param="file")
    if received.size == 0:
        raise Invalid("The file is empty.", param="file")
    with kept(received), transaction() as conn:
        return insert(conn, caller.project_id, received, filename=filename, purpose=purpose, lifetime=lifetime)


def insert(
    conn: Connection[Row], project_id: str, received: Incoming, *, filename: str, purpose: str, lifetime: int | None
) -> File:
    """Make what was received known as a file, a training file with the number of its rows where they were counted."""
    file = File(
        id=received.path.removeprefix(_path("")),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        bytes=received.size,
        sha256=received.writer.sha256,
        path=received.path,
        created_at=datetime.now(UTC),
    )
    made = files.insert(conn, file, lifetime=lifetime)
    if purpose == "fine-tune" and received.rows is not None:
        datasets.counted(conn, made.id, examples=received.rows.total)
    return made


def _path(file_id: str) -> str:
    return f"files/{file_id}"


def usable_name(filename: str, purpose: str, *, param: str) -> str:
    """The name that a file of this purpose is kept under.

    Raises Invalid for an unknown purpose, and for a name that cannot be shown or does not fit the purpose.
    """
    if purpose not in PURPOSES:
        raise Invalid(f"'{purpose[:64]}' is not one of the purposes {', '.join(PURPOSES)}.", param="purpose")
    name = filename.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or len(name) > MAX_FILENAME or not name.isprintable():
        raise Invalid(
            f"The file needs a name of 1 to {MAX_FILENAME} characters without control characters.", param=param
        )
    if purpose == "fine-tune" and not name.lower().endswith(".jsonl"):
        raise Invalid(
            f"Training files are JSON Lines: '{name}' needs a name that ends in .jsonl.",
            param=param,
            code="invalid_file_format",
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
    return _opened(retrieve(caller, file_id))


def permitted(project_id: str, file_id: str) -> tuple[File, IO[bytes]]:
    """A project's file and its bytes, for whoever holds a permit. Raises Unknown, and Unavailable."""
    with autocommit() as conn:
        file = files.get(conn, project_id, file_id)
    return _opened(file)


def _opened(file: File) -> tuple[File, IO[bytes]]:
    try:
        return file, blobs.storage().open(file.path)
    except blobs.StorageError as error:
        raise Unavailable(f"The content of {file.id} cannot be read from storage.") from error


def delete(caller: Caller, file_id: str) -> File:
    """Take a file out of the API; jobs that were created with it keep their data. Raises Unknown."""
    caller.must("write")
    with transaction() as conn:
        return files.delete(conn, caller.project_id, file_id)
