"""One page of a list: what every list action returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """The items of a page, and whether there are more behind them."""

    items: list[T]
    has_more: bool


def cut(found: Sequence[T], limit: int) -> Page[T]:
    """A page of `limit` items from what was found with `limit + 1` asked for."""
    return Page(list(found[:limit]), has_more=len(found) > limit)
