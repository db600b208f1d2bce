"""Rows as dataclasses: the two ways in which every statement of the store returns what it found."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from app.store.connections import Connection, Row, fetch

T = TypeVar("T")


def columns(kind: type) -> str:
    """The columns that make a dataclass, for a `select` or `returning`."""
    return ", ".join(item.name for item in fields(kind))


def one(conn: Connection[Row], kind: type[T], query: str, params: Mapping[str, Any]) -> T | None:
    """The first row of a statement, or None."""
    found = fetch(conn, query, params)
    return kind(**found[0]) if found else None


def many(conn: Connection[Row], kind: type[T], query: str, params: Mapping[str, Any]) -> list[T]:
    """All rows of a statement."""
    return [kind(**row) for row in fetch(conn, query, params)]
