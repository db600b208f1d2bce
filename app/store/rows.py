"""Rows as dataclasses: the two ways in which every statement of the store returns what it found."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from app.store.db import Connection, Row

T = TypeVar("T")


def columns(kind: type) -> str:
    """The columns that make a dataclass, for a `select` or `returning`."""
    return ", ".join(item.name for item in fields(kind))


def one(conn: Connection[Row], kind: type[T], query: str, params: Mapping[str, Any]) -> T | None:
    """The first row of a statement, or None."""
    row = conn.execute(query, params).fetchone()
    return None if row is None else kind(**row)


def many(conn: Connection[Row], kind: type[T], query: str, params: Mapping[str, Any]) -> list[T]:
    """All rows of a statement."""
    return [kind(**row) for row in conn.execute(query, params)]
