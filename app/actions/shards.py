"""Datasets in shards: announced, sent to signed URLs, and joined when all are there."""

import hashlib
from collections.abc import Mapping, Sequence

from app import blobs
from app.actions import arrivals
from app.actions import datasets as actions
from app.actions.arrivals import Announcement, Bounds
from app.actions.incoming import Incoming, RowCount, kept, receive
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, WrongState
from app.core.job import Part
from app.core.resources import Dataset
from app.store import datasets, uploads
from app.store.db import transaction

MAX_NAME = 255


def announce(caller: Caller, name: str, sizes: Mapping[str, int | None]) -> Announcement:
    """Say which shards a dataset will be made of, and their sizes in bytes; an earlier announcement is void.

    Raises Unknown, WrongState for a READY dataset, Invalid for a shard that cannot be one, and TooLarge.
    """
    caller.must("write")
    for shard in sizes:
        _refuse_unsafe(shard)
    wanted = arrivals.announced(sizes)
    room = arrivals.room(wanted, _bounds())
    with transaction() as conn:
        dataset = datasets.hold(conn, caller.project_id, name)
        actions.refuse_ready(dataset)
        if dataset.upload_id is not None:
            uploads.cancel(conn, caller.project_id, dataset.upload_id)
        filename = f"{dataset.name}.jsonl"
        upload_id = arrivals.open_upload(
            conn, caller.project_id, filename=filename, purpose="fine-tune", wanted=wanted, room=room
        )
        datasets.announce(conn, dataset.id, upload_id=upload_id, shards=wanted)
    return Announcement(upload_id, wanted, room)


def _refuse_unsafe(name: str) -> None:
    """What is in the file is for validation to say; its name has only to be one, and no path."""
    if not 1 <= len(name) <= MAX_NAME or name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise Invalid(
            f"'{name[:64]}' cannot be a shard: its name has 1 to {MAX_NAME} printable characters, and no folder.",
            param=arrivals.PARAM,
        )


def join(caller: Caller, name: str) -> None:
    """Make the dataset's file of its shards, in the order of their names; a READY one stays as it is.

    Raises Unknown, TooLarge, and WrongState when no shard was announced, one is missing, or their time is over.
    """
    caller.must("write")
    with transaction() as conn:
        dataset = datasets.get(conn, caller.project_id, name)
        if dataset.is_ready:
            return
        parts = _parts(dataset, uploads.parts(conn, dataset.upload_id or ""))
    try:
        _become_file(caller, dataset, parts)
    except WrongState:
        if not actions.retrieve(caller, name).is_ready:  # else another request has joined them meanwhile
            raise


def _become_file(caller: Caller, dataset: Dataset, parts: Sequence[Part]) -> None:
    with receive(f"files/{names.file_id()}", limit=_most(parts), too_large=_grown) as joined:
        joined.rows = RowCount()
        md5 = _join(parts, joined)
        with kept(joined), transaction() as conn:
            held = datasets.hold(conn, caller.project_id, dataset.name)
            file = actions.become_file(conn, caller, held, joined, filename="")
            part_ids = [part.id for part in parts]
            if uploads.complete(conn, dataset.upload_id or "", file_id=file.id, part_ids=part_ids, md5=md5) is None:
                raise WrongState("The time for these shards is over, or others were announced: send them again.")


def _parts(dataset: Dataset, received: Sequence[Part]) -> list[Part]:
    shards = dataset.announced()
    if not shards:
        raise WrongState(f"No rows have come for the dataset '{dataset.name}': use :upload or :getUploadEndpoint.")
    remedy = "announce the dataset anew without them"
    return list(arrivals.arrived(dataset.name, shards, received, _bounds(), remedy=remedy).values())


def _bounds() -> Bounds:
    return Bounds("A dataset", settings().max_shards, settings().max_upload_mb)


def _most(parts: Sequence[Part]) -> int:
    """Bytes of the parts with a line's end behind each."""
    return sum(part.bytes + 1 for part in parts)


def _grown() -> WrongState:
    return WrongState("The shards have changed meanwhile: try again.")


def _join(parts: Sequence[Part], joined: Incoming) -> str:
    """Write the parts one after the other, each beginning with a line of its own; the MD5 of it all."""
    digest = hashlib.md5(usedforsecurity=False)
    last = b"\n"
    for part in parts:
        chunk = b"" if last.endswith(b"\n") else b"\n"
        with blobs.storage().open(part.path) as opened:
            while chunk := chunk + opened.read(blobs.CHUNK):
                digest.update(chunk)
                joined.write(chunk)
                last, chunk = chunk, b""
    return digest.hexdigest()
