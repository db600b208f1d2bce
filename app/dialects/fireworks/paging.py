"""Pages of a collection: filter, order, mask, and tokens that tell where the next page begins."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.core import filters, listings
from app.core.errors import Invalid
from app.core.listings import Listed, Listing, Order, Value
from app.core.names import CHOSEN_ID
from app.dialects.answers import Answer
from app.dialects.base import caller
from app.dialects.fireworks.resources import Resource, camel

T = TypeVar("T")
FIRST_PAGE = ("", "1")
"""Gateways ask for the first page by number."""
DEFAULT_SIZE, MOST = 50, 200
MAX_TOKEN = 4000
TIEBREAK = "id"
ALWAYS = ("name", "dataset")
"""What the official client's types require, masked or not."""
RESOURCES = ("name", "job_name", "dataset", "evaluation_dataset", "output_model", "base_model", "warm_start_from")
"""Fields that filters may hold against full names of resources."""


class PageSize(fields.Field[int]):
    """How many items a page may hold; 0 means unset, more than the most are cut to it."""

    def __init__(self) -> None:
        metadata = {"type": "integer", "minimum": 0, "maximum": MOST, "default": DEFAULT_SIZE}
        super().__init__(load_default=DEFAULT_SIZE, metadata=metadata)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> int:
        if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20):
            raise ValidationError("not a whole number from 0.")
        return min(int(value), MOST) or DEFAULT_SIZE


def _text(description: str) -> fields.String:
    return fields.String(load_default="", metadata={"description": description})


class MaskQuery(Resource):
    """Which fields the answer is to have."""

    class Meta:
        unknown = EXCLUDE

    read_mask = _text("Fields of the answer, comma separated; unknown ones count for nothing")


class PageQuery(MaskQuery):
    """Which items, in which order, and from where on."""

    page_size = PageSize()
    page_token = _text("`nextPageToken` of the page before, with all else as it was there")
    filter = _text("AIP-160: fields compared by = != < <= > >= and :, joined by AND, OR, NOT, or words looked for")
    order_by = _text("Fields, comma separated, each with ` desc` or not; unknown ones count for nothing")


@dataclass(frozen=True)
class Collection:
    """A list on the wire: the key of its items, and its fields in camel case, each with its kind and its name inside.

    A page's items are put in order by attributes of those names; the last one is their `id`. `words` are values of
    fields that have other names inside.
    """

    key: str
    kinds: Mapping[str, type]
    inside: Mapping[str, str]
    tiebreak: str = TIEBREAK
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def spellings(self) -> dict[str, str]:
        """The names inside of all fields, by both ways to write them."""
        return {**{_snake(wire): name for wire, name in self.inside.items()}, **self.inside}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def read(query: Mapping[str, Any], collection: Collection) -> Listing | None:
    """The page that a query asks for, None when its token is none of ours: then there is nothing.

    Raises Invalid for a filter that cannot be read, and for a token of another query.
    """
    where = filters.parse(query["filter"])
    order = _order(query["order_by"], collection)
    after: tuple[Value, ...] | None = None
    if query["page_token"] not in FIRST_PAGE:
        after = _position(query, collection, order)
        if after is None:
            return None
    return Listing(
        where=_renamed(where, collection) if where else None,
        order=order,
        after=after,
        limit=query["page_size"],
    )


def _renamed(where: filters.Term, collection: Collection) -> filters.Term:
    return filters.renamed(where, collection.spellings, paths=RESOURCES, words=collection.words)


def _order(text: str, collection: Collection) -> tuple[Order, ...]:
    """The order that a text names, equals by their names; fields that are not known count for nothing."""
    wanted = []
    for each in text.split(",") if text.strip() else []:
        field, *direction = each.split()[:3] or [""]
        if direction not in ([], ["asc"], ["desc"]):
            raise Invalid(
                f"An order is fields, each with 'desc' or not: '{each.strip()[:64]}' is none.", param="orderBy"
            )
        if field in collection.spellings:
            wanted.append(Order(collection.spellings[field], descending=direction == ["desc"]))
    return (*wanted, Order("name"), Order(collection.tiebreak))


def _digest(query: Mapping[str, Any], collection: Collection) -> str:
    asked = [caller().project_id, collection.key, query["filter"], query["order_by"]]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _token(last: Any, query: Mapping[str, Any], collection: Collection, order: tuple[Order, ...]) -> str:
    place = [each.isoformat() if isinstance(each, datetime) else each for each in listings.position(last, order)]
    text = json.dumps([_digest(query, collection), *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(query: Mapping[str, Any], collection: Collection, order: tuple[Order, ...]) -> tuple[Value, ...] | None:
    """Where the page before ended, None for what we never wrote. Raises Invalid for a token of another query."""
    token = query["page_token"]
    try:
        digest, *place = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(digest, str) or len(digest) != 16:
        return None
    if digest != _digest(query, collection):
        raise Invalid(
            "This page token is of another query: filter, orderBy and collection stay the same from page to page.",
            param="pageToken",
        )
    try:
        return tuple(_value(each, collection.kinds[field.field]) for each, field in zip(place, order, strict=True))
    except ValueError:
        return None


def _value(given: object, kind: type) -> Value:
    """A value of a token. Raises ValueError for one that we never wrote, and that Postgres might not take."""
    if kind is datetime and isinstance(given, str) and (time := datetime.fromisoformat(given)).tzinfo:
        return time
    if kind is int and type(given) is int and abs(given) < 2**63:
        return given
    if kind is str and isinstance(given, str) and "\0" not in given:
        return given.encode().decode()  # an unpaired surrogate ends here
    raise ValueError(given)


def answer(
    query: Mapping[str, Any],
    collection: Collection,
    find: Callable[[Listing], Listed[T]],
    show: Callable[[T], dict[str, Any]],
) -> dict[str, Any]:
    """The page that a query asks for, as `list_of` dumps it."""
    listing = read(query, collection) or _behind_named(query, collection, find)
    if listing is None:
        return {collection.key: [], "next_page_token": "", "total_size": 0}
    found = find(listing)
    token = _token(found.items[-1], query, collection, listing.order) if found.has_more else ""
    items = [masked(show(item), query["read_mask"]) for item in found.items]
    return {collection.key: items, "next_page_token": token, "total_size": found.total}


def _behind_named(
    query: Mapping[str, Any], collection: Collection, find: Callable[[Listing], Listed[T]]
) -> Listing | None:
    """The page behind the item whose name stands for a token, as gateways ask for it; None when there is none."""
    name = query["page_token"]
    if not CHOSEN_ID.fullmatch(name):
        return None
    first = read({**query, "page_token": ""}, collection)
    assert first is not None
    named = find(replace(first, where=filters.Comparison("name", "=", name, "name"), limit=1)).items
    return replace(first, after=listings.position(named[0], first.order)) if named else None


def masked(shown: Mapping[str, Any], mask: str) -> dict[str, Any]:
    """The members that a mask names, and those that clients cannot be without; a blank mask or `*` names all."""
    wanted = {path.strip().split(".")[0] for path in mask.split(",")} - {""}
    if not wanted or "*" in wanted:
        return dict(shown)
    return {name: value for name, value in shown.items() if name in ALWAYS or {name, camel(name)} & wanted}


def list_of(key: str, item: type[Schema]) -> type[Schema]:
    """The schema of a page of items under a key, which is always there."""
    members: dict[str, Any] = {
        key: fields.List(fields.Nested(item), required=True),
        "nextPageToken": fields.String(required=True, attribute="next_page_token"),
        "totalSize": fields.Integer(required=True, attribute="total_size"),
    }
    return Answer.from_dict(members, name=item.__name__.removesuffix("Schema") + "Page")
