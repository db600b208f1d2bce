"""Lists that are filtered and put in order by the caller: their fields are allowed by name, their values parameters."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from app.core.errors import Invalid
from app.core.filters import And, Comparison, Literal, Not, Or, Term
from app.core.listings import Fields, Listed, Listing, Order
from app.store.db import Connection, Row

T = TypeVar("T")
COLUMNS_SEARCHED = ("name", "display_name")
MAX_INTEGER = 2**63 - 1
IN_BYTES = ' collate "C"'
"""One order for all databases, whatever their language."""


def page(
    conn: Connection[Row], kind: type[T], source: str, fields: Fields, listing: Listing, params: Mapping[str, Any]
) -> Listed[T]:
    """The page of what the statement `source` finds, whose rows are of a `kind`.

    Raises Invalid when a filter compares what cannot be compared.
    """
    values = dict(params)
    condition = "true" if listing.where is None else _condition(listing.where, fields, values)
    count = f"select count(*) n from ({source}) listed where {condition}"
    row = conn.execute(count, values, prepare=False).fetchone()  # as the caller's filters differ, so do the texts
    assert row is not None
    behind = "true" if listing.after is None else _behind(listing.order, listing.after, fields, values)
    order = ", ".join(f"{_column(each.field, fields)} {_direction(each)}" for each in listing.order)
    key = listing.order[-1].field
    found = conn.execute(  # only what is on the page is read whole: all else has its keys put in order
        f"""
        select * from ({source}) listed where {key} = any (array(
               select {key} from ({source}) listed where ({condition}) and ({behind}) order by {order} limit %(limit)s))
         order by {order}
        """,
        {**values, "limit": listing.limit + 1},
        prepare=False,
    ).fetchall()
    items = [kind(**each) for each in found[: listing.limit]]
    return Listed(items, has_more=len(found) > listing.limit, total=row["n"])


def _direction(order: Order) -> str:
    return "desc" if order.descending else "asc"


def _column(field: str, fields: Fields) -> str:
    """A column by its allowed name, and nothing else: it is formatted into SQL."""
    return field + (IN_BYTES if fields[field] is str else "")


def _bound(value: object, values: dict[str, Any]) -> str:
    name = f"value_{len(values)}"
    values[name] = value
    return f"%({name})s"


def _behind(order: Sequence[Order], after: Sequence[object], fields: Fields, values: dict[str, Any]) -> str:
    """What comes behind a position: equal in the first fields, and beyond it in the next."""
    marks = [_bound(value, values) for value in after]
    columns = [_column(each.field, fields) for each in order]
    ways = []
    for number, each in enumerate(order):
        same = [f"{column} = {mark}" for column, mark in zip(columns[:number], marks[:number], strict=True)]
        ways.append(" and ".join([*same, f"{columns[number]} {'<' if each.descending else '>'} {marks[number]}"]))
    return " or ".join(f"({way})" for way in ways)


def _condition(term: Term, fields: Fields, values: dict[str, Any]) -> str:
    match term:
        case And(terms):
            return " and ".join(f"({_condition(each, fields, values)})" for each in terms)
        case Or(terms):
            return " or ".join(f"({_condition(each, fields, values)})" for each in terms)
        case Not(negated):
            return f"not ({_condition(negated, fields, values)})"
        case Literal(text):
            return " or ".join(_holds(column, text, values) for column in COLUMNS_SEARCHED)
        case Comparison():
            return _comparison(term, fields, values)


def _holds(column: str, text: str, values: dict[str, Any]) -> str:
    return f"strpos(lower({column}), lower({_bound(text, values)}::text)) > 0"


def _comparison(term: Comparison, fields: Fields, values: dict[str, Any]) -> str:
    kind = fields[term.field]
    if term.operator == ":":
        if kind is not str:
            raise Invalid(f"The operator ':' is for texts, and '{term.written}' is none.", param="filter")
        return f"{term.field} <> ''" if term.value == "*" else _holds(term.field, term.value, values)
    if kind is str and "*" in term.value and term.operator in ("=", "!="):
        like = _bound(_pattern(term.value), values)
        return f"{term.field} {'like' if term.operator == '=' else 'not like'} {like}"
    operator = "<>" if term.operator == "!=" else term.operator
    return f"{_column(term.field, fields)} {operator} {_bound(_value(term, kind), values)}"


def _pattern(text: str) -> str:
    """A text in which `*` stands for anything, as LIKE reads it."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _value(term: Comparison, kind: type) -> str | int | datetime:
    try:
        if kind is datetime:
            time = datetime.fromisoformat(term.value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        if kind is int:
            return whole(term.value)
    except (ValueError, OverflowError) as error:
        wanted = "a time as RFC 3339 writes it" if kind is datetime else "a whole number"
        raise Invalid(f"'{term.written}' is {wanted}, and '{term.value[:64]}' is not.", param="filter") from error
    return term.value


def whole(text: str) -> int:
    """The number that a text is in digits. Raises ValueError, also for one that Postgres cannot hold."""
    if not text.lstrip("-").isascii() or not text.lstrip("-").isdigit() or len(text) > 20:
        raise ValueError(text)
    number = int(text)
    if abs(number) > MAX_INTEGER:
        raise ValueError(text)
    return number
