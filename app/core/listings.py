"""What a list is asked for: which items, in which order, from where on, and how many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from app.core.filters import Term

T = TypeVar("T")
Value = str | int | datetime
Fields = Mapping[str, type]
"""Attributes by which items may be filtered and put in order: each a `str`, `int` or `datetime`, and never None."""


@dataclass(frozen=True)
class Order:
    """An attribute by which items are put in order."""

    field: str
    descending: bool = False


@dataclass(frozen=True)
class Listing:
    """A page that is wished for: at most `limit` items behind the one with the values `after` of the order's fields.

    The last field of the order tells every item from the others.
    """

    where: Term | None
    order: tuple[Order, ...]
    after: tuple[Value, ...] | None
    limit: int


@dataclass(frozen=True)
class Listed(Generic[T]):
    """The items of a page, whether there are more behind them, and how many there are on all pages together."""

    items: list[T]
    has_more: bool
    total: int


def position(item: Any, order: Sequence[Order]) -> tuple[Value, ...]:
    """Where an item stands in an order."""
    return tuple(getattr(item, each.field) for each in order)
