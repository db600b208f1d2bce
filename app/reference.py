"""The API's description: OpenAPI 3.1 at /openapi.json, made from the routes and schemas, and a page of it at /docs."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import flask_smorest
from flask import Flask, jsonify, render_template
from werkzeug.routing import Rule

from app.dialects.base import Dialect

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer YOUR_KEY`"},
    "portkey": {"type": "apiKey", "in": "header", "name": "x-portkey-api-key", "description": "Wins when present"},
    "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
}
STATE = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
STATES = {
    "healthz": ("Whether this process answers", {200: "It does"}),
    "readyz": ("Whether Postgres, Redis and storage answer too", {200: "They do", 503: "One is away, and named"}),
}


class Api(flask_smorest.Api):
    """The routes' description; errors are answered by the application, so no error page of the library's."""

    def _register_error_handlers(self) -> None:
        pass


def register(app: Flask, dialects: Sequence[Dialect]) -> None:
    """Add the dialects' routes to the application, and the pages that describe them."""
    app.config.update(API_TITLE="Tuneyard", API_VERSION=version("tuneyard"), OPENAPI_VERSION="3.1.0")
    api = Api(spec_kwargs={"security": [{name: []} for name in SECURITY], "servers": [{"url": "/"}]})
    api.ERROR_SCHEMA = dialects[-1].error_schema
    api.init_app(app)
    for name, scheme in SECURITY.items():
        api.spec.components.security_scheme(name, scheme)
    for dialect in dialects:
        _describe_errors(api, dialect)
        for blueprint in dialect.blueprints:
            api.register_blueprint(blueprint)
    for endpoint, (summary, answers) in STATES.items():
        _describe_state(api, next(app.url_map.iter_rules(endpoint)), summary, answers)
    description = api.spec.to_dict()
    _describe_bad_requests(description)
    description["components"]["schemas"].pop("PaginationMetadata", None)  # of a kind of page that we do not have
    app.add_url_rule("/openapi.json", view_func=lambda: jsonify(description), endpoint="openapi")
    app.add_url_rule("/docs", view_func=lambda: _page(description), endpoint="docs")


def _describe_errors(api: Api, dialect: Dialect) -> None:
    """Let all routes that are registered next refer to the envelope of this dialect."""
    api.DEFAULT_ERROR_RESPONSE_NAME = f"{dialect.name}_error"
    content = {"application/json": {"schema": dialect.error_schema}}
    api.spec.components.response(api.DEFAULT_ERROR_RESPONSE_NAME, {"description": "An error", "content": content})


def _describe_bad_requests(description: dict[str, Any]) -> None:
    """Give the answers to bad arguments the envelope of their dialect too: the library knows one for all."""
    for members in description["paths"].values():
        for operation in members.values():
            if isinstance(operation, dict) and "400" in operation["responses"]:
                operation["responses"]["400"] = operation["responses"]["default"]


def _describe_state(api: Api, rule: Rule, summary: str, answers: Mapping[int, str]) -> None:
    responses = {
        str(status): {"description": text, "content": {"application/json": {"schema": STATE}}}
        for status, text in answers.items()
    }
    operation = {"summary": summary, "tags": ["health"], "security": [], "responses": responses}
    api.spec.path(rule=rule, operations={"get": operation})


def _page(description: Mapping[str, Any]) -> str:
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, members in description["paths"].items()
        for method, operation in members.items()
        if isinstance(operation, dict)
    ]
    return render_template("reference.html", description=description, operations=operations)
