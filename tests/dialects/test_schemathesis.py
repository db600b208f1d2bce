"""Requests made from the API's own description: never a 5xx, never an answer that the description does not hold."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from app.api import create_app
from tests.dialects.test_sealed_projects import things
from tests.settings import settings as settings_of

__all__ = ["things"]

CHECKS = [  # the first one is left out where the description says that something is not built
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
KEYS = ("Authorization", "x-portkey-api-key", "api-key")
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "6"))


def operations() -> list[tuple[str, str]]:
    """The path and method of all that is described."""
    with settings_of(database_url="postgresql://none", redis_url="redis://none", storage_url="none"):
        paths = create_app().test_client().get("/openapi.json").get_json()["paths"]
    return [(path, method) for path, members in paths.items() for method in members if method != "parameters"]


@pytest.fixture(scope="module")
def description(app) -> Any:
    return schemathesis.openapi.from_wsgi("/openapi.json", app)


@pytest.mark.parametrize(("path", "method"), operations())
def test_every_answer_is_one_that_the_description_holds(ann, things, description, path, method):
    """Some requests are as described and some are not; half of them name things that are there."""
    operation = description[path][method]
    ids = {f"{name}_id": thing for name, thing in things.items()} | {"model": things["model"]}
    ids |= {"account_id": "ann", "dataset_id": things["file"], "model_id": things["job"]}
    named = {"model": "tiny/base", "training_file": things["file"], "validation_file": None, "project_ids": ["ann"]}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=some.one_of([operation.as_strategy(mode) for mode in GenerationMode]), there=some.booleans())
    def tried(case, there):
        for name in KEYS:
            case.headers.pop(name, None)
        if there:
            case.path_parameters = replaced(case.path_parameters, ids)
            case.body = replaced(case.body, named)
        answer = case.call(headers=ann.headers)
        refused = answer.status_code == 501 and "501" in operation.definition.raw["responses"]
        case.validate_response(answer, checks=CHECKS[refused:])

    tried()


def replaced(given: Any, known: dict[str, Any]) -> Any:
    """Its members, those of known names with known values; anything but an object stays what it is."""
    return {name: known.get(name, value) for name, value in given.items()} if isinstance(given, dict) else given
