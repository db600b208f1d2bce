"""Schemas of what is answered."""

from typing import Any

from marshmallow import Schema, fields, missing


class Member:
    """A member of an answer: its name on the wire, and the field that makes it from what lies where."""

    def __init__(self, name: str, field: fields.Field[Any]) -> None:
        self.wire_name = name if field.data_key is None else field.data_key
        self._name, self._field = name, field
        self._way = (field.attribute or name).split(".") if field._CHECK_ATTRIBUTE else None

    def dumped(self, obj: Any) -> Any:
        """The value for the wire, or `missing`; a field that looks at nothing, as a constant, gets None."""
        value = None if self._way is None else self._found(obj, self._way)
        return value if value is missing else self._field._serialize(value, self._name, obj)

    def _found(self, obj: Any, way: list[str]) -> Any:
        for step in way:
            obj = obj.get(step, missing) if isinstance(obj, dict) else getattr(obj, step, missing)
        if obj is not missing:
            return obj
        default = self._field.dump_default
        return default() if callable(default) else default


class Answer(Schema):
    """A schema that dumps dicts and objects as any schema does, having worked out beforehand where each value lies.

    That is most of what marshmallow does for a value: it looks each one up anew, by every way that there may be.
    """

    def _init_fields(self) -> None:
        super()._init_fields()
        self._members = [Member(name, field) for name, field in self.dump_fields.items()]

    def _serialize(self, obj: Any, *, many: bool = False) -> Any:
        if many:
            return [self._serialize(one) for one in obj]
        dumped = ((member.wire_name, member.dumped(obj)) for member in self._members)
        return {name: value for name, value in dumped if value is not missing}
