"""Schemas of what is answered."""

from collections.abc import Callable
from typing import Any

from marshmallow import Schema, fields, missing

Dumped = Callable[[Any], Any]

AS_THEY_ARE = {fields.String: str, fields.Integer: int, fields.Float: float, fields.Boolean: bool}
"""Fields that leave values of a type alone."""


class Answer(Schema):
    """A schema that dumps dicts and objects as any schema does, having worked out beforehand where each value lies.

    That is most of what marshmallow does for a value: it looks each one up anew, by every way that there may be.
    """

    def _init_fields(self) -> None:
        super()._init_fields()
        self._members = [(field.data_key or name, _member(name, field)) for name, field in self.dump_fields.items()]

    def _serialize(self, obj: Any, *, many: bool = False) -> Any:
        if many:
            return [self._serialize(one) for one in obj]
        answer = {}
        for wire_name, member in self._members:
            value = member(obj)
            if value is not missing:
                answer[wire_name] = value
        return answer


def _member(name: str, field: fields.Field[Any]) -> Dumped:
    """What makes a member of an answer: its value for the wire, or `missing`."""
    serialize = field._serialize
    if not field._CHECK_ATTRIBUTE:
        return lambda obj: serialize(None, name, obj)  # as a constant, which looks at nothing
    found = _lookup((field.attribute or name).split("."), field.dump_default)
    if type(field)._serialize is fields.Field._serialize:
        return found  # as raw values, which are what they are
    as_it_is = None if getattr(field, "as_string", False) else AS_THEY_ARE.get(type(field))

    def member(obj: Any) -> Any:
        value = found(obj)
        if value is missing or type(value) is as_it_is:
            return value
        return serialize(value, name, obj)

    return member


def _lookup(way: list[str], default: Any) -> Dumped:
    """What finds a value in a dict or object, by the names on the way to it, or else its default."""
    otherwise = default if callable(default) else lambda: default

    def found(obj: Any) -> Any:
        for step in way:
            obj = obj.get(step, missing) if isinstance(obj, dict) else getattr(obj, step, missing)
        return otherwise() if obj is missing else obj

    return found
