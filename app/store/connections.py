"""Connections to Postgres whose statements are sent and waited for in one call of libpq.

A cursor of psycopg lets go of Python's lock nine times a statement. Where threads wait for the lock, each time may wake
another one, which costs more than the answer of Postgres. Here it is let go of once.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import md5
from itertools import count
from typing import Any, TypeVar

import psycopg
from psycopg import OperationalError, errors
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus
from psycopg.pq.abc import PGresult

R = TypeVar("R")
Row = dict[str, Any]

Prepared = tuple[bytes, tuple[int, ...]]
"""A statement's text, and the types of its parameters."""

PARAMETER = re.compile(r"%(?:%|\((\w+)\)s)")
GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Connection(psycopg.Connection[R]):
    """A connection that prepares what has parameters, and keeps it prepared as long as it lives.

    So a text must be the program's own: one that depends on what a caller sent goes with `prepare=False`. Those of the
    program, each for the types of its parameters, are some hundreds at most. While Postgres answers nothing interrupts
    the thread: what a signal asks for is done afterwards.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = Cursor
        self.adapting = Transformer(self)
        self._names: dict[Prepared, bytes] = {}
        self._numbers = count()

    @property
    def prepare_threshold(self) -> int | None:
        """Never: psycopg's own way has Postgres forget all that is prepared at each rollback."""
        return None

    @prepare_threshold.setter
    def prepare_threshold(self, value: int | None) -> None:
        self._prepared.prepare_threshold = None

    def answer(
        self, text: bytes, types: tuple[int, ...], values: Sequence[Any] | None, formats: Sequence[Format] | None
    ) -> PGresult:
        """What Postgres answers to a statement. Raises psycopg.Error as a cursor does."""
        assert self.autocommit, "nothing here begins a transaction by itself"
        statement = text, types
        name = self._names.get(statement) or self._prepare(statement)
        try:
            return self._checked(self.pgconn.exec_prepared(name, values, formats))
        except (errors.FeatureNotSupported, errors.InvalidSqlStatementName):
            del self._names[statement]  # a column got another type, or a pooler forgot: next time it is prepared anew
            raise

    def _prepare(self, statement: Prepared) -> bytes:
        """Prepare a statement under a name that no other text ever has, on whichever connection a pooler takes."""
        text, types = statement
        name = b"%s_%d" % (md5(text, usedforsecurity=False).hexdigest().encode(), next(self._numbers))
        self._checked(self.pgconn.prepare(name, text, types))
        self._names[statement] = name
        return name

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in GOOD:
            return result
        if self.pgconn.status == ConnStatus.BAD:
            raise OperationalError(self.pgconn.get_error_message())
        raise errors.error_from_result(result)


class Cursor(psycopg.Cursor[R]):
    """A cursor of such a connection."""

    _conn: Connection[Any]

    def _maybe_prepare_gen(self, pgq: Any, *, prepare: bool | None = None, binary: bool | None = None) -> PQGen[None]:
        if pgq.params and prepare is not False and self._conn.pgconn.pipeline_status == PipelineStatus.OFF:
            self._set_results([self._conn.answer(pgq.query, pgq.types, pgq.params, pgq.formats)])
        else:
            yield from super()._maybe_prepare_gen(pgq, prepare=prepare, binary=binary)


def fetch(conn: Connection[Row], query: str, params: Mapping[str, Any]) -> list[Row]:
    """The rows of a statement, without a cursor: for what each request or turn of a job asks.

    Its parameters are written `%(name)s`. Raises psycopg.Error as a cursor does.
    """
    text, names = _numbered(query)
    adapting = conn.adapting
    values = adapting.dump_sequence([params[name] for name in names], [PyFormat.AUTO] * len(names))
    result = conn.answer(text, adapting.types or (), values, adapting.formats)
    columns = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
    try:
        adapting.set_pgresult(result)
        return adapting.load_rows(0, result.ntuples, lambda row: dict(zip(columns, row, strict=True)))
    finally:
        adapting.set_pgresult(None)  # which else would be kept until the next one


@cache
def _numbered(query: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement as Postgres takes it, whose parameters are numbers, and the names that they had."""
    names: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        if found[1] is None:
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return PARAMETER.sub(numbered, query).encode(), tuple(names)
