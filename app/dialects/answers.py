"""Schemas of what is answered."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from marshmallow import Schema, fields, missing


class Member(NamedTuple):
    """A member of an answer: its name on the wire, the field that makes it, and the way to the field's value."""

    name: str
    field: fields.Field[Any]
    path: tuple[str, ...]


class Answer(Schema):
    """A schema that dumps what any schema would, having worked out beforehand where each value comes from.

    That is most of what marshmallow does for a value: it looks each one up anew, by every way that there may be.
    """

    def _init_fields(self) -> None:
        super()._init_fields()
        self._members = [*self._each_member()]

    def _each_member(self) -> Iterator[Member]:
        for name, field in self.dump_fields.items():
            path = (field.attribute or name).split(".") if field._CHECK_ATTRIBUTE else ()  # else it asks for none
            yield Member(name if field.data_key is None else field.data_key, field, tuple(path))

    def _serialize(self, obj: Any, *, many: bool = False) -> Any:
        if many:
            return [self._serialize(one) for one in obj]
        answer = {}
        for name, field, path in self._members:
            value = _found(obj, path, field) if path else None
            if value is not missing:
                answer[name] = field._serialize(value, name, obj)
        return answer


def _found(obj: Any, path: tuple[str, ...], field: fields.Field[Any]) -> Any:
    for step in path:
        obj = obj.get(step, missing) if isinstance(obj, dict) else getattr(obj, step, missing)
    if obj is not missing:
        return obj
    return field.dump_default() if callable(field.dump_default) else field.dump_default
