"""OpenAI's envelope for errors."""

from typing import Any

from marshmallow import Schema, fields

from app.core.errors import JobServiceError


class ErrorMembers(Schema):
    """What went wrong, in words, and where."""

    message = fields.String(required=True)
    type = fields.String(required=True)
    param = fields.String(required=True, allow_none=True)
    code = fields.String(required=True, allow_none=True)


class ErrorSchema(Schema):
    """The body of every answer with a status from 400 on."""

    error = fields.Nested(ErrorMembers, required=True)


def render_error(error: JobServiceError) -> dict[str, Any]:
    """The envelope of an error; all four members are always there."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
