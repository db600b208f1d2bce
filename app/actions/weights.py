"""The weights of a tuned model as one tar archive, streamed: its size is known before the first byte."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from app import blobs
from app.actions import models
from app.core.caller import Caller
from app.core.errors import Invalid, Unavailable, Unknown

END = b"\0" * (2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class Archive:
    """An uncompressed tar of the files of a model's directory. `size` is in bytes."""

    name: str
    size: int
    entries: tuple[tuple[bytes, str, int], ...]

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the archive, at most blobs.CHUNK at a time."""
        storage = blobs.storage()
        for header, key, size in self.entries:
            yield header
            with storage.open(key) as file:
                while chunk := file.read(blobs.CHUNK):
                    yield chunk
            yield b"\0" * _padding(size)
        yield END


def archive(caller: Caller, name: str) -> Archive:
    """The archive of a tuned model's or checkpoint's weights.

    Raises Unknown, Invalid for a base model, and Unavailable when storage is away.
    """
    model = models.retrieve(caller, name)
    if isinstance(model, models.Base):
        raise Invalid(
            f"{name} is a base model: only the weights of tuned models and of their checkpoints can be downloaded.",
            param="model",
        )
    modified = int(model.made.created_at.timestamp())
    try:
        entries = tuple(
            (_header(path, size, modified), f"{model.path}/{path}", size)
            for path, size in blobs.storage().tree(model.path)
        )
    except (OSError, blobs.StorageError) as error:
        raise Unavailable(f"The weights of {name} cannot be read from storage.") from error
    if not entries:
        raise Unknown(f"The weights of '{name}' are not stored any more", param="model", code="model_not_found")
    size = sum(len(header) + size + _padding(size) for header, _, size in entries) + len(END)
    return Archive(name, size, entries)


def _header(path: str, size: int, modified: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mtime = size, modified
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
