"""Uploads: a multipart form whose file flows into storage as it comes in, and never sits in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from app.actions.incoming import Incoming
from app.core.errors import Invalid, TooLarge
from app.dialects import bodies

OVERHEAD = 1 << 20
CHUNK = 256 * 1024
BUFFER = 4 * CHUNK
MAX_FIELD = 64 * 1024
MAX_PARTS = 32


@dataclass
class Form:
    """The small fields of a form by name, and the name that its file came with."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


def read(request: Request, *, into: Incoming, name: str, is_needed: bool = True) -> Form:
    """Read a form, its file, the part `name`, into what receives it.

    Raises TooLarge, and Invalid when it is no form, is cut off, or has two files, or none that `is_needed`.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary or not boundary.isascii():
        raise Invalid("The body must be a form, sent with 'Content-Type: multipart/form-data; boundary=…'.")
    request.max_content_length = into.limit + OVERHEAD
    try:
        form = _collect(_events(request, boundary), into.write, name)
    except RequestEntityTooLarge as error:
        raise into.too_large() from error
    except ValueError as error:  # what the decoder says of a form that is broken, or ends too early
        raise Invalid("The form is broken or incomplete.") from error
    if form.filename is None and is_needed:
        raise Invalid(f"The form has no file: send it as the part '{name}', with a filename.", param=name)
    for field_name, text in (*form.fields.items(), (name, form.filename or "")):
        bodies.refuse_unprintable(field_name + text, field_name)
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


def _collect(events: Iterator[Event], write: Callable[[bytes], None], name: str) -> Form:
    form = Form()
    part: Event | None = None
    text = bytearray()
    for event in events:
        if isinstance(event, Field | File):
            part = event
            text.clear()
            if not isinstance(part.name, str):  # as the decoder leaves a name that it cannot read
                raise Invalid("A part of the form has no name that can be read.")
            if isinstance(event, File):
                _refuse_another(form, event, name)
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


def _refuse_another(form: Form, part: File, name: str) -> None:
    if part.name != name or form.filename is not None:
        raise Invalid(f"A form has one file, in the part '{name}'.", param=str(part.name)[:64])


def described(file: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """A form as the API's description shows it: its file's part, and the schemas of its other fields."""
    properties = {file: {"type": "string", "format": "binary"}, **fields}
    required = [name for name in properties if name in (file, "purpose")]
    schema = {"type": "object", "required": required, "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
