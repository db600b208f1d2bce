"""Uploads: a multipart form whose file flows into storage as it comes in, and never sits in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from app.core.errors import Invalid, TooLarge

CHUNK = 256 * 1024
BUFFER = 4 * CHUNK
MAX_FIELD = 64 * 1024
MAX_PARTS = 32


@dataclass
class Form:
    """The small fields of a form by name, and the name that its file came with."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


def read(request: Request, *, most: int, write: Callable[[bytes], None], too_large: Callable[[], TooLarge]) -> Form:
    """Read a form of at most `most` bytes, its part `file` into `write`.

    Raises TooLarge, and Invalid when it is no form, is cut off, or has no file or two.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary or not boundary.isascii():
        raise Invalid("The body must be a form, sent with 'Content-Type: multipart/form-data; boundary=…'.")
    request.max_content_length = most
    try:
        form = _collect(_events(request, boundary), write)
    except RequestEntityTooLarge as error:
        raise too_large() from error
    except ValueError as error:  # what the decoder says of a form that is broken, or ends too early
        raise Invalid("The form is broken or incomplete.") from error
    if form.filename is None:
        raise Invalid("The form has no file: send it as the part 'file', with a filename.", param="file")
    return form


def _events(request: Request, boundary: str) -> Iterator[Event]:
    decoder = MultipartDecoder(boundary.encode(), BUFFER, max_parts=MAX_PARTS)
    ended = False
    while not ended:
        chunk = request.stream.read(CHUNK)
        ended = not chunk
        decoder.receive_data(chunk or None)
        event = decoder.next_event()
        while not isinstance(event, Epilogue | NeedData):
            yield event
            event = decoder.next_event()


def _collect(events: Iterator[Event], write: Callable[[bytes], None]) -> Form:
    form = Form()
    part: Event | None = None
    text = bytearray()
    for event in events:
        if isinstance(event, Field | File):
            part = event
            text.clear()
            if isinstance(event, File):
                _refuse_another(form, event)
                form.filename = event.filename
        elif isinstance(event, Data) and isinstance(part, File):
            write(event.data)
        elif isinstance(event, Data) and isinstance(part, Field):
            text += event.data
            if len(text) > MAX_FIELD:
                raise TooLarge(f"The field '{part.name[:64]}' is larger than {MAX_FIELD} bytes.", param=part.name[:64])
            if not event.more_data:
                form.fields[part.name] = text.decode()
    return form


def _refuse_another(form: Form, part: File) -> None:
    if part.name != "file" or form.filename is not None:
        raise Invalid("A form has one file, in the part 'file'.", param=str(part.name)[:64])
