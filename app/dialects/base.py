"""What every dialect is made of: its blueprints, its way to render an error, its reading of bodies. No wire names."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, NoReturn

import flask_smorest
from flask import Request, g, request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict

from app import auth
from app.core.caller import Caller
from app.core.errors import Invalid, JobServiceError
from app.dialects import bodies


@dataclass(frozen=True)
class Dialect:
    """A wire format: `prefixes` of the URLs it owns, its routes, and its envelope for errors."""

    name: str
    prefixes: tuple[str, ...]
    blueprints: tuple["OpenBlueprint", ...]
    render_error: Callable[[JobServiceError], dict[str, Any]]
    error_schema: type[Schema]


class BodyParser(FlaskParser):
    """Reads arguments for a schema, and words what is wrong with them for the caller."""

    OF_ANY_TYPE = False
    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "json": None}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._of_empty_query: dict[Any, Any] = {}

    def parse(self, argmap: Any, req: Request | None = None, *, location: str | None = None, **options: Any) -> Any:
        """As its parent does; what a schema makes of an empty query, which must not change, is worked out once."""
        if location != "query" or (req or request).args:
            return super().parse(argmap, req, location=location, **options)
        if argmap not in self._of_empty_query:
            self._of_empty_query[argmap] = super().parse(argmap, req, location=location, **options)
        return copy(self._of_empty_query[argmap])

    def load_json(self, req: Request, schema: Schema) -> dict[str, Any]:
        g.body = bodies.read_json(req, of_any_type=self.OF_ANY_TYPE)
        body: dict[str, Any] = g.body
        return body

    def load_querystring(self, req: Request, schema: Schema) -> MultiDict[str, str]:
        return req.args

    def handle_error(self, error: ValidationError, req: Request, schema: Schema, **_: Any) -> NoReturn:
        [found] = error.messages_dict.values()  # under the name of the location: json, or query
        raise first_error(found) from error


class OpenBlueprint(flask_smorest.Blueprint):
    """Routes that anybody may call; arguments are read by BodyParser."""

    ARGUMENTS_PARSER = BodyParser()

    def arguments(self, schema: type[Schema], **options: Any) -> Callable[..., Any]:
        """As its parent does, with one instance of the schema for all requests: making it costs more than reading."""
        reading: Callable[..., Any] = super().arguments(schema(), **options)
        return reading


class Blueprint(OpenBlueprint):
    """Routes that only a valid key may call."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.before_request(_authenticate)


def _authenticate() -> None:
    g.caller = auth.authenticate(request.headers)


def caller() -> Caller:
    """Who sent the request that is being answered."""
    who = g.caller
    assert isinstance(who, Caller)
    return who


def first_error(messages: Any) -> Invalid:
    """What a schema found, with the dotted name of the field; of several findings, the first."""
    path: list[str] = []
    while isinstance(messages, Mapping) and messages:
        key, messages = next(iter(messages.items()))
        if key not in ("_schema", "key", "value"):
            path.append(str(key))
    text = str(messages[0]) if isinstance(messages, list) and messages else str(messages)
    param = ".".join(path)[:200] or None
    return Invalid(f"Invalid value for '{param}': {text}" if param else text, param=param)
