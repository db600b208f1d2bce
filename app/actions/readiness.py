"""Whether the services behind this one answer."""

from collections.abc import Callable

from app import queue
from app.blobs import StorageError, storage
from app.core.errors import Unavailable
from app.store import db


def parts() -> dict[str, str]:
    """`ok`, or what is wrong, for Postgres, Redis and storage."""
    checks = {"postgres": db.ping, "redis": queue.ping, "storage": lambda: storage().ping()}
    return {name: _answer(check) for name, check in checks.items()}


def _answer(check: Callable[[], None]) -> str:
    try:
        check()
    except (Unavailable, StorageError) as error:
        return str(error)
    return "ok"
