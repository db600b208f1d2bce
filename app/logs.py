"""Structured logs: one JSON object a line on stderr, with the ids of the request and the job that it is about."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_bound: ContextVar[dict[str, str]] = ContextVar("bound", default={})  # noqa: B039 (never changed in place)
_TALKATIVE = ("boto3", "botocore", "s3transfer", "urllib3")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: what is bound and what came as `extra` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Let this process log in JSON to stderr from `level` upwards; repeated, it changes the level only."""
    root = logging.getLogger()
    root.setLevel(level)
    for name in _TALKATIVE:  # at DEBUG they write down signatures and session tokens
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))
    if any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        return
    to_stderr = logging.StreamHandler(sys.stderr)
    to_stderr.setFormatter(JsonFormatter())
    root.addHandler(to_stderr)


def bind(**ids: str) -> None:
    """Let every later line of this thread carry these ids, and no others."""
    _bound.set(ids)


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Let the lines of a block carry these ids besides those that are bound already."""
    token = _bound.set({**_bound.get(), **ids})
    try:
        yield
    finally:
        _bound.reset(token)
