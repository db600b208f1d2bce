"""Downloads: what lies in storage flows to the client, and never sits in memory."""

from collections.abc import Callable, Iterator
from typing import IO

from flask import Response

CHUNK = 3 << 18  # a multiple of 3, so that every chunk but the last becomes base64 without padding


def attachment(opened: IO[bytes], filename: str, *, size: int, encode: Callable[[bytes], bytes] = bytes) -> Response:
    """An answer of `size` bytes that is saved under a name: what was opened, chunk by chunk as `encode` makes it."""
    response = Response(map(encode, _chunks(opened)), mimetype="application/octet-stream")
    response.call_on_close(opened.close)
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.content_length = size
    return response


def _chunks(opened: IO[bytes]) -> Iterator[bytes]:
    with opened:
        while chunk := opened.read(CHUNK):
            yield chunk
