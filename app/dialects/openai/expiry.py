"""`expires_after`: how long a file lives, as a member of a JSON body or as two fields of a form."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from app.dialects.base import first_error
from app.dialects.openai.fields import one_of

SHORTEST, LONGEST = 3600, 2_592_000
FIELD = re.compile(r"expires_after(?:\[(.*)\])?", re.DOTALL)


class ExpiresAfterSchema(Schema):
    """When a file goes by itself."""

    anchor = fields.String(required=True, validate=one_of("created_at"))
    seconds = fields.Integer(required=True, strict=True, validate=validate.Range(SHORTEST, LONGEST))


FORM_FIELDS: dict[str, dict[str, Any]] = {
    "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
    "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
}


def of_form(form: Mapping[str, str]) -> int | None:
    """The lifetime that a form's fields ask for, in seconds; None for a file that stays. Raises Invalid."""
    given: dict[str, Any] = {}
    for name, text in form.items():
        if found := FIELD.fullmatch(name):
            given[found[1] or ""] = _number(text) if found[1] == "seconds" else text
    if not given:
        return None
    try:
        lifetime: int = ExpiresAfterSchema().load(given)["seconds"]
    except ValidationError as error:
        raise first_error({"expires_after": error.messages}) from error
    return lifetime


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
