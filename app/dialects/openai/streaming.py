"""A job's events as server-sent events: one JSON object each, `[DONE]` once the job has ended."""

import json
from collections.abc import Iterator
from typing import Any

from flask import Response, request
from marshmallow import EXCLUDE, Schema, fields

from app.actions.following import Listener
from app.config import settings
from app.dialects.openai.job_object import EventSchema

KIND = "text/event-stream"
ALIVE = ": still here\n"  # without an empty line behind it, which some clients take for an empty event
DONE = "data: [DONE]\n\n"
SENT = {
    "type": "object",
    "description": "Each event of the stream",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "description": "The event's id; the one that ends the stream has none"},
        "data": {"type": "string", "description": "An event of the job as JSON, or `[DONE]`"},
    },
}


class Seen(Schema):
    """What a client that comes back has seen of a stream."""

    class Meta:
        unknown = EXCLUDE

    last_event_id = fields.String(
        data_key="Last-Event-ID",
        load_default=None,
        metadata={"description": "A stream goes on behind the event of this id"},
    )


def described(page: type[Schema]) -> dict[str, Any]:
    """The answers of a route that gives a page or a stream, as the API's description shows them."""
    content = {"application/json": {"schema": page}, KIND: {"schema": SENT}}
    return {"200": {"description": "A page, or a stream of events until `[DONE]`", "content": content}}


def wished(stream: bool | None) -> bool:
    """Whether the request asks for a stream: the query decides, else the header Accept."""
    if stream is not None:
        return stream
    return request.accept_mimetypes.best_match(("application/json", KIND)) == KIND


def response(listener: Listener) -> Response:
    """The stream of a listener's events, which closes it in the end."""
    answer = Response(_lines(listener), mimetype=KIND)
    answer.call_on_close(listener.close)
    answer.headers["Cache-Control"] = "no-cache"
    answer.headers["X-Accel-Buffering"] = "no"
    _bound_writes()
    return answer


def _lines(listener: Listener) -> Iterator[str]:
    schema = EventSchema()
    for batch in listener.batches():
        if not batch:
            yield ALIVE
        for event in batch:
            shown = schema.dump(event)
            yield f"id: {shown['id']}\ndata: {json.dumps(shown)}\n\n"
    if listener.done:
        yield DONE


def _bound_writes() -> None:
    """Do not wait for ever for a client that does not read; gunicorn takes the limit back with the next request."""
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(settings().stream_seconds)
