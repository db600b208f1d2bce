"""Errors as `google.rpc.Status`, flat: the code is one of gRPC's numbers; the HTTP status is the error's own."""

from typing import Any

from marshmallow import Schema, fields

from app.core import errors
from app.core.errors import JobServiceError

CODES: dict[type[JobServiceError], int] = {
    errors.WrongState: 9,
    errors.Invalid: 3,
    errors.Unauthenticated: 16,
    errors.Forbidden: 7,
    errors.Unknown: 5,
    errors.NotAllowed: 12,
    errors.Taken: 6,
    errors.TooLarge: 3,
    errors.OverLimit: 8,
    errors.KeyReused: 3,
    errors.NotBuilt: 12,
    errors.Unavailable: 14,
}
INTERNAL = 13
NAMES = {
    0: "OK",
    1: "CANCELLED",
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    12: "UNIMPLEMENTED",
    INTERNAL: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
"""What the numbers are called, which is how resources tell their status."""


class StatusSchema(Schema):
    """The body of every answer with a status from 400 on."""

    code = fields.Integer(required=True, metadata={"description": "gRPC's: 3 INVALID_ARGUMENT, 5 NOT_FOUND, …"})
    message = fields.String(required=True)
    details = fields.List(fields.Dict(), required=True)


def render_error(error: JobServiceError) -> dict[str, Any]:
    """The body of an error; the name of what was wrong is one of its details."""
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), INTERNAL)
    return {"code": code, "message": error.message, "details": [{"field": error.param}] if error.param else []}
