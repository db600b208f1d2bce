"""What a caller may do with uploads: files that come in parts, in any order, and are joined at the end."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from app import blobs
from app.actions import files
from app.actions.incoming import MEGABYTE, Incoming, RowCount, kept, receive
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, TooLarge, WrongState
from app.core.job import File, Part, Upload
from app.store import files as file_rows
from app.store import uploads
from app.store.db import transaction

OPEN_SECONDS = 3600
PART_MB = 64
MD5_BYTES = 16


@dataclass(frozen=True)
class Finished:
    """A completed upload, and its file unless that is gone since."""

    upload: Upload
    file: File | None


def create(caller: Caller, *, filename: str, purpose: str, size: int, mime_type: str, lifetime: int | None) -> Upload:
    """Begin an upload of `size` bytes, whose file will live for `lifetime` seconds or for good.

    Raises Invalid as a file's creation does, and TooLarge.
    """
    caller.must("write")
    filename = files.usable_name(filename, purpose, param="filename")
    most = settings().max_upload_mb
    if size > most * MEGABYTE:
        raise TooLarge(f"The file is larger than {most} MB, the most this server takes in parts.", param="bytes")
    with transaction() as conn:
        return uploads.insert(
            conn,
            names.upload_id(),
            project_id=caller.project_id,
            filename=filename,
            purpose=purpose,
            size=size,
            mime_type=mime_type,
            lifetime=lifetime,
            open_seconds=OPEN_SECONDS,
        )


def _part_too_large() -> TooLarge:
    return TooLarge(f"The part is larger than {PART_MB} MB, the most that a part may have.", param="data")


@contextmanager
def incoming(caller: Caller, upload_id: str) -> Iterator[Incoming]:
    """Receive a part; unless `add_part` keeps it inside the block, nothing is left of it after it.

    Raises Unknown, WrongState when the upload has ended, and Unavailable when storage refuses.
    """
    caller.must("write")
    with transaction() as conn:
        _refuse_ended(uploads.get(conn, caller.project_id, upload_id))
    path = f"uploads/{upload_id}/{names.part_id()}"
    with receive(path, limit=PART_MB * MEGABYTE, too_large=_part_too_large) as received:
        yield received


def add_part(caller: Caller, upload_id: str, received: Incoming) -> Part:
    """Keep what was received as a part of an upload.

    Raises Invalid for an empty part, and when there are far more bytes than the upload was announced with.
    """
    if received.size == 0:
        raise Invalid("The part is empty.", param="data")
    with kept(received), transaction() as conn:
        if not uploads.admit(conn, upload_id, received.size):
            upload = uploads.get(conn, caller.project_id, upload_id)
            _refuse_ended(upload)
            raise Invalid(
                f"The upload was announced with {upload.bytes} bytes and has parts of {upload.received} bytes already.",
                param="data",
            )
        part_id = received.path.rsplit("/", 1)[-1]
        return uploads.add_part(conn, part_id, upload_id=upload_id, size=received.size, path=received.path)


def complete(caller: Caller, upload_id: str, *, part_ids: Sequence[str], md5: str | None) -> Finished:
    """Join parts in this order to a file; repeated with the same parts, it returns the same file.

    Raises Invalid when a part is missing or named twice, and when size or MD5 are not the announced ones.
    """
    caller.must("write")
    with transaction() as conn:
        upload = uploads.get(conn, caller.project_id, upload_id)
        parts = uploads.parts(conn, upload.id)
    if upload.status == "pending":
        in_order = _in_order(parts, part_ids)
        _refuse_other_size(upload, sum(part.bytes for part in in_order))
        with suppress(WrongState):  # then another request has ended it meanwhile, maybe a copy of this one
            return _joined(upload, in_order, md5)
    with transaction() as conn:
        upload = uploads.get(conn, caller.project_id, upload_id)
        if upload.part_ids != list(part_ids):
            raise _ended(upload)
        return Finished(upload, file_rows.find(conn, caller.project_id, upload.file_id or ""))


def _joined(upload: Upload, parts: Sequence[Part], md5: str | None) -> Finished:
    file_id = names.file_id()
    with receive(f"files/{file_id}", limit=upload.bytes, too_large=_part_too_large) as joined:
        joined.rows = RowCount()
        found = _join(parts, joined)
        _refuse_other_md5(md5, found)
        with kept(joined), transaction() as conn:
            done = uploads.complete(
                conn, upload.id, file_id=file_id, part_ids=[part.id for part in parts], md5=found.hex()
            )
            if done is None:
                raise _ended(upload)
            file = files.insert(
                conn,
                upload.project_id,
                joined,
                filename=upload.filename,
                purpose=upload.purpose,
                lifetime=upload.lifetime,
            )
    return Finished(done, file)


def _in_order(parts: Sequence[Part], part_ids: Sequence[str]) -> list[Part]:
    by_id = {part.id: part for part in parts}
    if len(set(part_ids)) < len(part_ids):
        raise Invalid("A part is named twice: each can be in the file once.", param="part_ids")
    if missing := [part_id for part_id in part_ids if part_id not in by_id]:
        raise Invalid(f"The upload has no part '{missing[0][:64]}'.", param="part_ids")
    return [by_id[part_id] for part_id in part_ids]


def _refuse_other_size(upload: Upload, size: int) -> None:
    if size != upload.bytes:
        raise Invalid(
            f"The parts have {size} bytes together; the upload was announced with {upload.bytes}.", param="part_ids"
        )


def _join(parts: Sequence[Part], joined: Incoming) -> bytes:
    """Write the parts one after the other, a chunk at a time; the MD5 of it all."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        with blobs.storage().open(part.path) as opened:
            while chunk := opened.read(blobs.CHUNK):
                digest.update(chunk)
                joined.write(chunk)
    return digest.digest()


def _refuse_other_md5(given: str | None, found: bytes) -> None:
    """Compare in hex or base64; what is neither names no MD5, and the answer tells which one the file has."""
    if given is None or (expected := _md5(given.strip())) is None:
        return
    if expected != found:
        raise Invalid(
            f"The file has the MD5 {found.hex()}, and not the one that was sent.", param="md5", code="checksum_mismatch"
        )


def _md5(text: str) -> bytes | None:
    try:
        digest = bytes.fromhex(text) if len(text) == 2 * MD5_BYTES else base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == MD5_BYTES else None


def cancel(caller: Caller, upload_id: str) -> Upload:
    """End an upload without a file; cancelling a cancelled one changes nothing. Raises Unknown, and WrongState."""
    caller.must("write")
    with transaction() as conn:
        upload = uploads.get(conn, caller.project_id, upload_id)
        cancelled = uploads.cancel(conn, caller.project_id, upload.id)
        if cancelled is None:
            raise _ended(uploads.get(conn, caller.project_id, upload.id))
        return cancelled


def _refuse_ended(upload: Upload) -> None:
    if upload.status != "pending":
        raise _ended(upload)


def _ended(upload: Upload) -> WrongState:
    return WrongState(f"The upload has ended: its status is '{upload.status}'.", param="upload_id")
