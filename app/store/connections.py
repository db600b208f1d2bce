"""Connections to Postgres whose statements are sent and waited for in one call of libpq.

A cursor of psycopg lets go of Python's lock nine times a statement. Where threads wait for the lock, each time may wake
another one, which costs more than the answer of Postgres. Here it is let go of once.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import psycopg
from psycopg import OperationalError, errors
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

R = TypeVar("R")
Row = dict[str, Any]

PARAMETER = re.compile(r"%\((\w+)\)s")
GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Connection(psycopg.Connection[R]):
    """A connection that prepares what has parameters, and keeps it prepared: so values must never stand in a text."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = Cursor
        self.adapting = Transformer(self)
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}

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
        """What Postgres answers to a statement. It cannot be interrupted. Raises psycopg.Error as a cursor does."""
        name = self._names.get((text, types))
        if name is None:
            assert self.autocommit, "nothing here begins a transaction by itself"
            name = b"s%d" % len(self._names)
            self._checked(self.pgconn.prepare(name, text, types))
            self._names[text, types] = name
        return self._checked(self.pgconn.exec_prepared(name, values, formats, Format.BINARY))

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
        if pgq.params and prepare is not False:
            self._set_results([self._conn.answer(pgq.query, pgq.types, pgq.params, pgq.formats)])
        else:
            yield from super()._maybe_prepare_gen(pgq, prepare=prepare, binary=binary)


def fetch(conn: Connection[Row], query: str, params: Mapping[str, Any]) -> list[Row]:
    """The rows of a statement that has parameters, without a cursor: for what each request or turn of a job asks."""
    text, names = _numbered(query)
    adapting = conn.adapting
    values = adapting.dump_sequence([params[name] for name in names], [PyFormat.AUTO] * len(names))
    result = conn.answer(text, adapting.types or (), values, adapting.formats)
    adapting.set_pgresult(result)
    columns = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
    return adapting.load_rows(0, result.ntuples, lambda row: dict(zip(columns, row, strict=True)))


@cache
def _numbered(query: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement as Postgres takes it, whose parameters are numbers, and the names that they had."""
    names = tuple(dict.fromkeys(PARAMETER.findall(query)))
    text = PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", query)
    return text.replace("%%", "%").encode(), names
