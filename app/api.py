"""The web process: `gunicorn 'app.api:create_app()'`."""

import logging
import re
import signal
import threading
import time
from types import FrameType

from flask import Flask, Response, g, jsonify, request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from app import dialects, logs, reference
from app.actions import following
from app.actions.models import catalogue
from app.actions.readiness import parts
from app.config import require
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, JobServiceError, NotAllowed, TooLarge, Unknown
from app.dialects import portkey
from app.dialects.bodies import refuse_unprintable

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,128}")

log = logging.getLogger("app.access")


def create_app() -> Flask:
    """The WSGI application. Raises SettingsError and CatalogueError for what it cannot start with."""
    settings = require("database_url", "redis_url", "storage_url")
    logs.configure(settings.log_level)
    catalogue()
    app = Flask("app", static_folder=None)
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(Exception, _answer_error)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    reference.register(app, dialects.DIALECTS)
    _end_streams_on_sigterm()
    return app


def _end_streams_on_sigterm() -> None:
    """A server that drains waits for its requests, so streams of events must end by themselves."""
    drain = signal.getsignal(signal.SIGTERM)
    if callable(drain) and threading.current_thread() is threading.main_thread():

        def end(number: int, frame: FrameType | None) -> None:
            following.end_all()
            drain(number, frame)

        signal.signal(signal.SIGTERM, end)


def healthz() -> Response:
    """This process answers."""
    return jsonify(status="ok")


def readyz() -> Response:
    """Postgres, Redis and storage answer too; 503 names those that are away."""
    found = parts()
    ready = all(state == "ok" for state in found.values())
    response = jsonify(status="ok" if ready else "unavailable", **found)
    response.status_code = 200 if ready else 503
    return response


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else names.request_id()
    logs.bind(request_id=g.request_id)
    if "\0" in request.path:
        raise Unknown("Unknown request URL: it holds a NUL.", code="unknown_url")
    for name, value in request.args.items(multi=True):
        refuse_unprintable(name, "the query's names")
        refuse_unprintable(value, name)


def _end(response: Response) -> Response:
    response.headers["x-request-id"] = g.request_id
    response.headers.update(portkey.answered(request.environ, g.request_id))
    who: Caller | None = g.get("caller")
    log.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "ms": round((time.perf_counter() - g.started) * 1000, 1),
            "key_id": who and who.key_id,
            "project": who and who.project_id,
            "job_id": (request.view_args or {}).get("job_id"),
        },
    )
    return response


def _answer_error(error: Exception) -> Response:
    """Any error in the shape of the dialect that the URL belongs to."""
    known = _in_our_words(error)
    response = jsonify(dialects.of_path(request.path).render_error(known))
    response.status_code = known.status
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    if known.status in (403, 413):
        response.headers["Connection"] = "close"  # the rest of the body stays unread
    if known.status in (409, 429, 501):
        response.headers["x-should-retry"] = "false"
    if known.status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _in_our_words(error: Exception) -> JobServiceError:
    if isinstance(error, JobServiceError):
        return error
    if isinstance(error, NotFound):
        return _unknown_url()
    if isinstance(error, MethodNotAllowed):
        return NotAllowed(f"Not allowed: {request.method} {request.path}", code="method_not_allowed")
    if isinstance(error, ParseException):
        return Invalid("The request's body is not sent as HTTP says.")
    if isinstance(error, RequestEntityTooLarge):
        return TooLarge("The request is larger than this server takes.")
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        return Invalid(error.description or "The request cannot be read.")
    log.error("unexpected error", exc_info=error)
    return JobServiceError(f"The server had an error. Request id: {g.request_id}", code="internal_error")


def _unknown_url() -> Unknown:
    return Unknown(f"Unknown request URL: {request.method} {request.path}", code="unknown_url")
