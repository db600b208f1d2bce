"""Accounts and the names of what they hold: `accounts/{account}/{collection}/{id}`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import g
from marshmallow import ValidationError, fields

from app.core.errors import Unknown
from app.dialects.answers import Answer
from app.dialects.base import Blueprint, BodyParser, caller
from app.dialects.fireworks.errors import NAMES

MOST_NAMED = 20


class AnyTypeParser(BodyParser):
    """Takes JSON under any content type: a gateway's upload sends it as `text/plain`."""

    OF_ANY_TYPE = True


class AccountBlueprint(Blueprint):
    """Routes of an account that only its own keys may call; views are not told which account it is."""

    ARGUMENTS_PARSER = AnyTypeParser()

    def __init__(self, name: str, description: str) -> None:
        super().__init__(f"fireworks_{name}", __name__, url_prefix="/v1/accounts/<account_id>", description=description)
        self.url_value_preprocessor(_take_account)
        self.before_request(_refuse_another)


def _take_account(endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.account_id = (values or {}).pop("account_id", "")


def _refuse_another() -> None:
    if g.account_id != caller().project_id:
        raise Unknown(f"There is no account '{g.account_id}': this key's is '{caller().project_id}'.")


def name_of(collection: str, resource_id: str) -> str:
    """The full name of what an account holds."""
    return f"accounts/{caller().project_id}/{collection}/{resource_id}"


def id_of(collection: str, name: str, *, param: str) -> str:
    """The id in a name, which may be a bare id. Raises Unknown for a name of another account or collection."""
    if "/" not in name:
        return name
    prefix = name_of(collection, "")
    if not name.startswith(prefix):
        raise Unknown(f"'{name[:200]}' is not in {prefix[:-1]}.", param=param)
    return name.removeprefix(prefix)


def any_id_of(collection: str, name: str, *, param: str) -> str:
    """The id in a full name; any other name, slashes included, as it is. Raises Unknown as `id_of` does."""
    return id_of(collection, name, param=param) if name.startswith("accounts/") else name


def status(code: int = 0, message: str = "") -> dict[str, str]:
    """How a resource tells its status; the code is a word there."""
    return {"code": NAMES[code], "message": message}


def ignored(body: Mapping[str, Any], used: set[str]) -> list[str]:
    """The members of a body that mean something and that nothing here uses; zero, empty and false mean unset.

    Of many the first `MOST_NAMED`, and then a sign that there are more.
    """
    found = sorted(name[:64] for name, value in body.items() if name not in used and value)
    return found if len(found) <= MOST_NAMED else [*found[:MOST_NAMED], "…"]


def not_used(names: list[str]) -> str:
    """What the status says of members that were kept out."""
    return f"Not used here: {', '.join(names)}." if names else ""


def known(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not None: what is not known is left out."""
    return {name: value for name, value in members.items() if value is not None}


def camel(name: str) -> str:
    """`display_name` as `displayName`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


class Resource(Answer):
    """A schema whose members go by their names in camel case, unless they have another one."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = field_obj.data_key or camel(field_name)


class StatusMembers(Resource):
    """A status inside a resource."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class Int64(fields.Field[int]):
    """A whole number of 64 bits: a string in answers, a string or a number in requests."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": ["string", "integer"], **options.pop("metadata", {})}, **options)

    def _serialize(self, value: int | None, attr: str | None, obj: Any, **_: Any) -> str | None:
        return None if value is None else str(value)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> int:
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text[:20]) >= 2**63:
            raise ValidationError("not a whole number from 0, as a number or in quotes.")
        return int(text)


class Time(fields.Field[datetime]):
    """A point in time as RFC 3339 writes it, in UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": "string", "format": "date-time"}, **options)

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **_: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
