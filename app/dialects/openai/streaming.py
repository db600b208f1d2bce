"""A job's events as server-sent events: one JSON object each, `[DONE]` once the job has ended."""

import json
from collections.abc import Iterator

from flask import Response, request

from app.actions.following import Listener
from app.config import settings
from app.dialects.openai.job_object import EventSchema

KIND = "text/event-stream"
ALIVE = ": still here\n"  # without an empty line behind it, which some clients take for an empty event
DONE = "data: [DONE]\n\n"


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
