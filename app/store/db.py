"""Connections to Postgres: one pool per process, opened on first use, so after any fork."""

import os
import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from psycopg import OperationalError
from psycopg.errors import UndefinedTable
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from app.config import require
from app.core.errors import Unavailable
from app.store.connections import Connection, Row

PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c idle_in_transaction_session_timeout=10s -c lock_timeout=5s",
}
"""A process that is frozen or cut off inside a transaction must not keep its row from the others."""

_opening = threading.Lock()
_pools: dict[int, ConnectionPool[Connection[Row]]] = {}


def _pool() -> ConnectionPool[Connection[Row]]:
    """The pool of this process; a pool that was opened before a fork is the parent's and stays untouched."""
    pid = os.getpid()
    if pid in _pools:
        return _pools[pid]
    with _opening:
        if pid not in _pools:
            _pools[pid] = _open()
        return _pools[pid]


def _open() -> ConnectionPool[Connection[Row]]:
    return ConnectionPool(
        require("database_url").database_url,
        connection_class=Connection[Row],
        kwargs={"row_factory": dict_row, "autocommit": True, **PATIENCE},
        min_size=1,
        max_size=16,
        timeout=10,
        open=True,
        check=_check,
    )


def _check(conn: Connection[Row]) -> None:
    """Ask a connection whether it lives, if there is something to read from it: the server says when it leaves."""
    ready = select.poll()
    ready.register(conn.fileno(), select.POLLIN)
    if ready.poll(0):
        ConnectionPool.check_connection(conn)


def close() -> None:
    """Close this process' pool, if it has one."""
    pool = _pools.pop(os.getpid(), None)
    if pool is not None:
        pool.close()


@contextmanager
def autocommit() -> Iterator[Connection[Row]]:
    """A connection for statements that each stand for themselves, which saves the round trips of a transaction.

    Raises Unavailable when Postgres cannot be reached, or was not migrated.
    """
    try:
        with _pool().connection() as conn:
            yield conn
    except (OperationalError, PoolTimeout) as error:
        raise Unavailable("The database cannot be reached; please try again.") from error
    except UndefinedTable as error:
        raise Unavailable("The database has no schema yet: run `python -m app.store.migrate`.") from error


@contextmanager
def transaction() -> Iterator[Connection[Row]]:
    """One transaction: committed at the end of the block, rolled back by an exception.

    Raises Unavailable when Postgres cannot be reached, or was not migrated.
    """
    with autocommit() as conn, conn.transaction():
        yield conn


@contextmanager
def session(url: str = "") -> Iterator[Connection[Row]]:
    """A connection outside the pool that commits each statement, to `url` or as set; what it holds ends with the block.

    Raises psycopg.Error as it comes.
    """
    url = url or require("database_url").database_url
    with Connection[Row].connect(url, autocommit=True, row_factory=dict_row, **PATIENCE) as conn:
        yield conn


def ping() -> None:
    """Ask Postgres for an answer.

    Raises Unavailable when there is none.
    """
    with autocommit() as conn:
        conn.execute("select 1")


def jsonb(value: Mapping[str, Any] | None) -> Jsonb | None:
    """A JSON parameter; None is SQL's null."""
    return None if value is None else Jsonb(value)


__all__ = ["Connection", "Row", "autocommit", "close", "jsonb", "ping", "session", "transaction"]
