"""Files on their way: announced with their sizes, and sent one by one by anybody who holds a signed URL."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app import blobs
from app.actions.incoming import MEGABYTE, Incoming, kept, receive
from app.actions.signed_urls import Permit
from app.core import names
from app.core.errors import Forbidden, Invalid, TooLarge, WrongState
from app.core.job import Part
from app.core.resources import Shard
from app.store import shards, uploads
from app.store.db import Connection, Row, transaction

OPEN_SECONDS = 3600
NAMED = 5
PARAM = "filenameToSize"


@dataclass(frozen=True)
class Bounds:
    """How many files a thing may be made of, and of how many MB together."""

    thing: str
    files: int
    mb: int


@dataclass(frozen=True)
class Announcement:
    """The files that are awaited, and the most bytes that one may have whose size was not told."""

    upload_id: str
    shards: list[Shard]
    room: int


def announced(sizes: Mapping[str, int | None]) -> list[Shard]:
    """The files of these names; a size of 0 or None was not told."""
    return [Shard(name, size or None, names.part_id()) for name, size in sorted(sizes.items())]


def room(wanted: Sequence[Shard], bounds: Bounds) -> int:
    """Bytes that are left for the files whose sizes were not told. Raises Invalid and TooLarge."""
    if not 1 <= len(wanted) <= bounds.files:
        raise Invalid(f"{bounds.thing} has 1 to {bounds.files} files, and not {len(wanted)}.", param=PARAM)
    left = bounds.mb * MEGABYTE - sum(shard.bytes or 0 for shard in wanted)
    if left < 0 or (left == 0 and any(shard.bytes is None for shard in wanted)):
        raise TooLarge(f"The files are larger than {bounds.mb} MB together, the most that this server takes.")
    return left


def arrived(
    name: str, wanted: Sequence[Shard], received: Sequence[Part], bounds: Bounds, *, remedy: str
) -> dict[str, Part]:
    """All files of a thing by their names, in the order in which they are wanted.

    Raises WrongState when one is missing, which ends with the `remedy`, and TooLarge.
    """
    by_id = {part.id: part for part in received}
    if missing := [shard.name for shard in wanted if shard.part_id not in by_id]:
        told = f"{len(missing)} of {len(wanted)} files of '{name}' have not come: {listed(missing)}."
        raise WrongState(f"{told} Send them, or {remedy}.")
    if sum(part.bytes for part in received) > bounds.mb * MEGABYTE:
        raise TooLarge(f"The files are larger than {bounds.mb} MB together, the most that this server takes.")
    return {shard.name: by_id[shard.part_id] for shard in wanted}


def listed(files: Sequence[str]) -> str:
    """The names of files in words, of many the first ones."""
    return ", ".join(f"'{file[:64]}'" for file in files[:NAMED]) + (", …" if len(files) > NAMED else "")


def open_upload(
    conn: Connection[Row], project_id: str, *, filename: str, purpose: str, wanted: Sequence[Shard], room: int
) -> str:
    """Begin an upload for these files, and return its id."""
    untold = room if any(shard.bytes is None for shard in wanted) else 0
    return uploads.insert(
        conn,
        names.upload_id(),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        size=untold + sum(shard.bytes or 0 for shard in wanted),
        mime_type="application/octet-stream",
        lifetime=None,
        open_seconds=OPEN_SECONDS,
    ).id


@contextmanager
def incoming(project_id: str, upload_id: str, name: str, permit: Permit) -> Iterator[Incoming]:
    """Receive a file for whoever holds a permit; unless `keep` keeps it, nothing is left of it after the block.

    Raises Forbidden when nothing awaits it any more, and Unavailable when storage refuses.
    """
    _awaited(project_id, upload_id, name, permit)

    def too_large() -> Forbidden:
        return wrong_size(name, permit)

    with receive(f"uploads/{upload_id}/{names.part_id()}", limit=permit.size, too_large=too_large) as received:
        yield received


def wrong_size(name: str, permit: Permit) -> Forbidden:
    """The error of a file that has not the size that it was announced with, or more than there is room for."""
    if permit.is_exact:
        return Forbidden(f"This URL is for the {permit.size} bytes of '{name[:64]}', as they were announced.")
    return Forbidden(f"This URL is for '{name[:64]}' of 1 to {permit.size} bytes: its size was not announced.")


def _awaited(project_id: str, upload_id: str, name: str, permit: Permit) -> Shard:
    with transaction() as conn:
        found = shards.awaited(conn, project_id, upload_id)
    for shard in found:
        if (shard.name, shard.bytes) == (name, permit.size if permit.is_exact else None):
            return shard
    raise Forbidden("Nothing is awaited at this URL any more: what it was for is READY, gone, or was announced anew.")


def keep(project_id: str, upload_id: str, name: str, permit: Permit, received: Incoming) -> None:
    """Keep a file that has come; one that comes again takes the place of the first.

    Raises Forbidden when it has not its size, or was sent too often.
    """
    if _lacks_an_empty_line(name, permit, received):
        received.write(b"\n")
    if not permit.fits(received.size):
        raise wrong_size(name, permit)
    shard = _awaited(project_id, upload_id, name, permit)
    with kept(received), transaction() as conn:
        if not uploads.admit(conn, upload_id, received.size):
            raise Forbidden("This URL takes nothing any more: it has expired, or the files were sent too often.")
        former = uploads.put_part(conn, shard.part_id, upload_id=upload_id, size=received.size, path=received.path)
    if former is not None:
        blobs.storage().delete(former)


def _lacks_an_empty_line(name: str, permit: Permit, received: Incoming) -> bool:
    """Whether an empty line alone is missing: Portkey's gateway announces one end of a line more than it sends."""
    is_short = permit.is_exact and received.size + 1 == permit.size
    return is_short and name.endswith(".jsonl") and received.last == b"\n"
