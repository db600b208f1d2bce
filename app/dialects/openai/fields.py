"""The kinds of values that OpenAI's objects are made of, and the queries and envelopes of its lists."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from app.actions.pages import Page
from app.dialects.answers import Answer


class Seconds(fields.Field[Any]):
    """A point in time as whole seconds since 1970."""

    def __init__(self, **options: Any) -> None:
        options["metadata"] = {"type": "integer", "description": "Unix time, s", **options.get("metadata", {})}
        super().__init__(**options)

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **_: Any) -> int | None:
        return None if value is None else int(value.timestamp())


class Limit(fields.Field[int]):
    """How many items a page may hold: a whole number from 0, larger ones cut to `most`."""

    def __init__(self, *, default: int, most: int) -> None:
        self.most = most
        metadata = {"type": "integer", "minimum": 0, "maximum": most, "default": default}
        super().__init__(load_default=default, metadata=metadata)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> int:
        if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20):
            raise ValidationError("not a whole number from 0.")
        return min(int(value), self.most)


class Order(fields.Field[bool]):
    """Whether the oldest item comes first: `order`, in OpenAI's two spellings."""

    ASCENDING = ("asc", "ascending")
    DESCENDING = ("desc", "descending")

    def __init__(self) -> None:
        metadata = {"type": "string", "enum": [*self.ASCENDING, *self.DESCENDING], "default": "desc"}
        super().__init__(load_default=False, data_key="order", metadata=metadata)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> bool:
        if value not in (*self.ASCENDING, *self.DESCENDING):
            raise ValidationError(f"must be one of {', '.join((*self.ASCENDING, *self.DESCENDING))}.")
        return value in self.ASCENDING


class Kind(fields.Constant[str]):
    """The name of an object's kind, the same in every object."""

    def __init__(self, name: str) -> None:
        super().__init__(name, required=True, metadata={"type": "string", "enum": [name]})


def one_of(*choices: str) -> validate.OneOf:
    """One of some words; the error names them."""
    return validate.OneOf(choices, error="must be one of {choices}.")


class PageQuery(Schema):
    """Where a page starts, how long it is, and in which order it goes on."""

    class Meta:
        unknown = EXCLUDE

    after = fields.String(load_default=None, metadata={"description": "The id of the last item of the page before"})
    limit = Limit(default=20, most=100)
    ascending = Order()


class Deleted(Answer):
    """What a delete answers."""

    id = fields.String(required=True)
    object = fields.String(required=True)
    deleted = fields.Boolean(required=True)


def list_of(item: type[Schema], *, ends: bool = False) -> type[Schema]:
    """The schema of a page of items; with `ends` it names the first and the last."""
    members: dict[str, Any] = {
        "object": Kind("list"),
        "data": fields.List(fields.Nested(item), required=True),
        "has_more": fields.Boolean(required=True),
    }
    if ends:
        members |= {name: fields.String(required=True, allow_none=True) for name in ("first_id", "last_id")}
    return Answer.from_dict(members, name=item.__name__.removesuffix("Schema") + "List")


def listing(page: Page[Any], wire_id: Callable[[Any], str] | None = None) -> dict[str, Any]:
    """A page as `list_of` dumps it; `wire_id` tells an item's id for the ends."""
    answer: dict[str, Any] = {"data": page.items, "has_more": page.has_more}
    if wire_id is not None:
        answer["first_id"] = wire_id(page.items[0]) if page.items else None
        answer["last_id"] = wire_id(page.items[-1]) if page.items else None
    return answer
