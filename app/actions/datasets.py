"""What a caller may do with datasets: training files under ids that are chosen, and on their way to be files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from app.actions import files
from app.actions.incoming import MEGABYTE, Incoming, RowCount, kept, receive
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, TooLarge, WrongState
from app.core.job import File
from app.core.listings import Listed, Listing
from app.core.resources import Dataset
from app.store import aliases, datasets, uploads
from app.store import files as file_rows
from app.store.db import Connection, Row, autocommit, transaction

UPLOAD_MB = 150
FORMATS = ("CHAT", "COMPLETION", "RL")


def usable_id(name: str, *, param: str) -> str:
    """An id that a caller may choose. Raises Invalid."""
    if not names.CHOSEN_ID.fullmatch(name):
        raise Invalid(
            f"'{name[:64]}' cannot be an id: one has 1 to 63 letters, digits, hyphens or underscores, and begins with "
            "a letter or a digit.",
            param=param,
        )
    if name.startswith(names.OUR_IDS):
        raise Invalid(f"'{name}' cannot be chosen: ids that begin like that are this server's own.", param=param)
    return name


def create(caller: Caller, name: str, *, display_name: str, format: str, ignored: Sequence[str]) -> Dataset:  # noqa: A002
    """Begin a dataset under an id that the caller chooses; `ignored` is what was said of it and is not used.

    Raises Invalid for an id that cannot be one, and Taken.
    """
    caller.must("write")
    usable_id(name, param="datasetId")
    dataset_id = names.file_id()
    with transaction() as conn:
        aliases.reserve(conn, caller.project_id, "dataset", name, target=dataset_id)
        datasets.insert(
            conn,
            dataset_id,
            project_id=caller.project_id,
            display_name=display_name,
            format=format,
            ignored=ignored,
            created_by=caller.key_id,
        )
        return datasets.get(conn, caller.project_id, name)


def page(caller: Caller, listing: Listing) -> Listed[Dataset]:
    """A page of the project's datasets. Raises Invalid as filters do."""
    caller.must("read")
    with autocommit() as conn:
        return datasets.page(conn, caller.project_id, listing)


def retrieve(caller: Caller, name: str) -> Dataset:
    """The dataset of this id, chosen or not. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        return datasets.get(conn, caller.project_id, name)


def change(caller: Caller, name: str, *, display_name: str | None, ignored: Sequence[str]) -> Dataset:
    """Give a dataset another display name, unless it is None. Raises Unknown."""
    caller.must("write")
    with transaction() as conn:
        dataset = datasets.hold(conn, caller.project_id, name)
        shown = dataset.display_name if display_name is None else display_name
        datasets.describe(conn, dataset, caller.project_id, display_name=shown, ignored=ignored)
        return datasets.get(conn, caller.project_id, name)


def delete(caller: Caller, name: str) -> None:
    """Delete a dataset and its file; jobs that were created with it keep their data. Raises Unknown."""
    caller.must("write")
    with transaction() as conn:
        dataset = datasets.hold(conn, caller.project_id, name)
        datasets.delete(conn, dataset.id)
        if dataset.upload_id is not None:
            uploads.cancel(conn, caller.project_id, dataset.upload_id)
        if dataset.is_ready:
            file_rows.delete(conn, caller.project_id, dataset.id)


def file(caller: Caller, name: str) -> File | None:
    """The file that a dataset is, None before it is READY. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        dataset = datasets.get(conn, caller.project_id, name)
        return file_rows.find(conn, caller.project_id, dataset.id)


def upload_limit() -> int:
    """The most bytes that a dataset may have which comes in one request."""
    return min(UPLOAD_MB, settings().max_file_mb) * MEGABYTE


def _too_large() -> TooLarge:
    return TooLarge(
        f"The file is larger than {upload_limit() // MEGABYTE} MB, the most that :upload takes: use "
        ":getUploadEndpoint.",
        param="file",
    )


@contextmanager
def incoming(caller: Caller, name: str) -> Iterator[Incoming]:
    """Receive a dataset in one piece; unless `upload` keeps it inside the block, nothing is left of it after it.

    Raises Unknown, WrongState for one that is READY, and Unavailable when storage refuses.
    """
    caller.must("write")
    refuse_ready(retrieve(caller, name))
    with receive(f"files/{names.file_id()}", limit=upload_limit(), too_large=_too_large) as received:
        received.rows = RowCount()
        yield received


def upload(caller: Caller, name: str, received: Incoming, *, filename: str) -> File:
    """Make what was received the dataset's file. Raises WrongState when it has one, Invalid when there are no bytes."""
    if received.size == 0:
        raise Invalid("The file is empty.", param="file")
    with kept(received), transaction() as conn:
        dataset = datasets.hold(conn, caller.project_id, name)
        return become_file(conn, caller, dataset, received, filename=filename)


def become_file(conn: Connection[Row], caller: Caller, dataset: Dataset, received: Incoming, *, filename: str) -> File:
    """Make a dataset that this transaction holds READY, with rows that were counted. Raises WrongState if it is so."""
    refuse_ready(dataset)
    made = file_rows.insert(
        conn,
        File(
            id=dataset.id,
            project_id=caller.project_id,
            filename=_filename(filename, dataset),
            purpose="fine-tune",
            bytes=received.size,
            sha256=received.writer.sha256,
            path=received.path,
            created_at=datetime.now(UTC),
        ),
    )
    assert received.rows is not None
    datasets.counted(conn, dataset.id, examples=received.rows.total)
    return made


def _filename(given: str, dataset: Dataset) -> str:
    """The name of the file, or one made from the dataset's id when that cannot be one of a training file."""
    try:
        return files.usable_name(given, "fine-tune", param="file")
    except Invalid:
        return f"{dataset.name}.jsonl"


def refuse_ready(dataset: Dataset) -> None:
    """Raise WrongState for a dataset whose rows are there already: they never change."""
    if dataset.is_ready:
        raise WrongState(f"The dataset '{dataset.name}' is READY, and its rows do not change: create another one.")
