"""The database as an onlooker sees it, in a connection of its own that outlives restarts of the server."""

import time
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row

PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.1


class Tables:
    """Asks questions; each thread needs its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._conn: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, query: str, **params: object) -> list[dict[str, Any]]:
        """The rows of a query; while the server is away, it is waited for.

        Raises psycopg.OperationalError after a minute.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._connection().execute(query, params).fetchall()
            except psycopg.OperationalError:
                self.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)

    def row(self, query: str, **params: object) -> dict[str, Any] | None:
        """The first row, or None."""
        return next(iter(self.rows(query, **params)), None)

    def _connection(self) -> psycopg.Connection[dict[str, Any]]:
        if self._conn is None:
            self._conn = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=5)
        return self._conn

    def close(self) -> None:
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.close()
        self._conn = None
