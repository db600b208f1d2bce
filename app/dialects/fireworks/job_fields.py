"""The kinds of members that a new job is made of: hyperparameters, and wishes that cannot be granted."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields, pre_load, validate

from app.core.hyperparameters import AUTO, LIMITS
from app.dialects.fireworks.resources import Resource

NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?")
MAX_NAME = 256
UNSET = (0, AUTO)
"""Gateways pass OpenAI's `auto` on."""


class Given(Resource):
    """A body in which zero, "", false, null and what is empty mean unset; what it does not know is left to others."""

    class Meta:
        unknown = EXCLUDE

    @pre_load
    def _set_members(self, body: Any, **_: Any) -> Any:
        return {name: value for name, value in body.items() if value} if isinstance(body, Mapping) else body


class Name(fields.String):
    """An id, or a full name."""

    def __init__(self, description: str, *, required: bool = False) -> None:
        default: dict[str, Any] = {} if required else {"load_default": ""}
        length = validate.Length(max=MAX_NAME)
        super().__init__(metadata={"description": description}, required=required, validate=length, **default)


class Knob(fields.Field[Any]):
    """A hyperparameter, as a number or as one in quotes; 0 leaves it to this server."""

    def __init__(self, name: str, description: str, **options: Any) -> None:
        self.limit = LIMITS[name]
        kind = "integer" if self.limit.kind is int else "number"
        metadata = {"type": [kind, "string"], "description": f"{description}; {self.limit.text}, or 0: unset"}
        super().__init__(metadata=metadata, load_default=None, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> Any:
        if isinstance(value, str) and NUMBER.fullmatch(value):
            value = float(value)
        if not isinstance(value, bool) and value in UNSET:
            return None
        if not self.limit.accepts(value):
            raise ValidationError(f"must be {self.limit.text}, or 0 to leave it to this server.")
        return self.limit.kind(value)


class Refused(fields.Field[None]):
    """A wish that this server cannot grant: only values that mean nothing are taken."""

    def __init__(self, reason: str, *, idle: tuple[object, ...] = ("0",)) -> None:
        super().__init__(metadata={"description": f"Refused: {reason}"})
        self.reason, self.idle = reason, idle

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> None:
        if isinstance(value, bool) or value not in self.idle:
            raise ValidationError(self.reason)
