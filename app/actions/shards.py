"""Datasets in shards: announced with their sizes, sent by anybody to signed URLs, joined when all are there."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from app import blobs
from app.actions import datasets as actions
from app.actions.incoming import MEGABYTE, Incoming, RowCount, kept, receive
from app.actions.signed_urls import Permit
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Forbidden, Invalid, TooLarge, WrongState
from app.core.job import Part
from app.core.resources import Dataset, Shard
from app.store import datasets, uploads
from app.store.db import transaction

OPEN_SECONDS = 3600
MAX_NAME = 255


def announce(caller: Caller, name: str, sizes: Mapping[str, int]) -> Dataset:
    """Say which shards a dataset will be made of, and their sizes in bytes; an earlier announcement is void.

    Raises Unknown, WrongState for a READY dataset, Invalid for a shard that cannot be one, and TooLarge.
    """
    caller.must("write")
    shards = [_shard(shard, size) for shard, size in sizes.items()]
    total = _total(shards)
    with transaction() as conn:
        dataset = datasets.hold(conn, caller.project_id, name)
        actions.refuse_ready(dataset)
        if dataset.upload_id is not None:
            uploads.cancel(conn, caller.project_id, dataset.upload_id)
        upload = uploads.insert(
            conn,
            names.upload_id(),
            project_id=caller.project_id,
            filename=f"{dataset.name}.jsonl",
            purpose="fine-tune",
            size=total,
            mime_type="application/jsonl",
            lifetime=None,
            open_seconds=OPEN_SECONDS,
        )
        datasets.announce(conn, dataset.id, upload_id=upload.id, shards=shards)
        return datasets.get(conn, caller.project_id, name)


def _shard(name: str, size: int) -> Shard:
    if "/" in name or "\\" in name or not name.endswith(".jsonl") or len(name) > MAX_NAME or not name.isprintable():
        raise Invalid(
            f"'{name[:64]}' cannot be a shard: its name ends in .jsonl, in small letters, and has no folder.",
            param="filenameToSize",
        )
    if size < 1:
        raise Invalid(f"The shard '{name[:64]}' has no bytes.", param="filenameToSize")
    return Shard(name, size, names.part_id())


def _total(shards: Sequence[Shard]) -> int:
    most_shards, most_mb = settings().max_shards, settings().max_upload_mb
    if not 1 <= len(shards) <= most_shards:
        raise Invalid(f"A dataset has 1 to {most_shards} shards, and not {len(shards)}.", param="filenameToSize")
    total = sum(shard.bytes for shard in shards)
    if total > most_mb * MEGABYTE:
        raise TooLarge(f"The shards are larger than {most_mb} MB together, the most that this server takes.")
    return total


@contextmanager
def incoming(project_id: str, upload_id: str, name: str, permit: Permit) -> Iterator[Incoming]:
    """Receive a shard for whoever holds a permit; unless `keep` keeps it, nothing is left of it after the block.

    Raises Forbidden when the dataset does not wait for it any more, and Unavailable when storage refuses.
    """
    _awaited(project_id, upload_id, name, permit)

    def too_large() -> Forbidden:
        return wrong_size(name, permit)

    with receive(f"uploads/{upload_id}/{names.part_id()}", limit=permit.size, too_large=too_large) as received:
        yield received


def wrong_size(name: str, permit: Permit) -> Forbidden:
    """The error of a shard that has not the size that it was announced with."""
    return Forbidden(f"This URL is for the {permit.size} bytes of '{name[:64]}', as they were announced.")


def _awaited(project_id: str, upload_id: str, name: str, permit: Permit) -> Shard:
    with transaction() as conn:
        dataset = datasets.of_upload(conn, project_id, upload_id)
    found = [] if dataset is None or dataset.is_ready else dataset.announced()
    for shard in found:
        if (shard.name, shard.bytes) == (name, permit.size):
            return shard
    raise Forbidden("Nothing is awaited at this URL any more: the dataset is READY, gone, or was announced anew.")


def keep(project_id: str, upload_id: str, name: str, permit: Permit, received: Incoming) -> None:
    """Keep a shard that has come; one that comes again takes the place of the first.

    Raises Forbidden when it has not its size, or was sent too often.
    """
    if received.size != permit.size:
        raise wrong_size(name, permit)
    shard = _awaited(project_id, upload_id, name, permit)
    with kept(received), transaction() as conn:
        if not uploads.admit(conn, upload_id, received.size):
            raise Forbidden("This URL takes nothing any more: it has expired, or the shards were sent too often.")
        former = uploads.put_part(conn, shard.part_id, upload_id=upload_id, size=received.size, path=received.path)
    if former is not None:
        blobs.storage().delete(former)


def join(caller: Caller, name: str) -> None:
    """Make the dataset's file of its shards, in the order of their names; a READY one stays as it is.

    Raises Unknown, and WrongState when no shard was announced, one is missing, or their time is over.
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
    by_id = {part.id: part for part in received}
    shards = dataset.announced()
    if not shards:
        raise WrongState(f"No rows have come for the dataset '{dataset.name}': use :upload or :getUploadEndpoint.")
    if missing := [shard.name for shard in shards if shard.part_id not in by_id]:
        some = ", ".join(f"'{name[:64]}'" for name in missing[:5])
        raise WrongState(f"{len(missing)} of {len(shards)} shards of '{dataset.name}' have not come: {some}.")
    return [by_id[shard.part_id] for shard in shards]


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
