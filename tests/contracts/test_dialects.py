"""What every dialect owes: an answer to every state, every error, and everybody who has no key."""

import inspect

import pytest
from flask import Flask

from app.core import errors
from app.core.states import Status
from app.dialects import DIALECTS, of_path
from app.dialects.fireworks import job_states
from app.dialects.openai import job_object
from tests.dialects.conftest import app, clean, storage

__all__ = ["app", "clean", "storage"]

NAMES_OF_STATES = {"openai": job_object.STATUSES, "fireworks": job_states.STATES}
ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.JobServiceError)]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_state_has_a_name(dialect):
    assert NAMES_OF_STATES[dialect.name].keys() == set(Status)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_error_is_rendered_with_its_message_as_its_schema_says(dialect, kind):
    rendered = dialect.render_error(kind("what went wrong", param="some.field", code="some_code"))
    assert "what went wrong" in str(rendered)
    assert dialect.error_schema().validate(rendered) == {}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_route_refuses_whoever_has_no_key(app: Flask, clean, dialect):
    tried = 0
    for rule in app.url_map.iter_rules():
        if of_path(rule.rule) is not dialect or not rule.rule.startswith(dialect.prefixes):
            continue
        url = rule.rule.replace("<path:", "<").replace("<", "").replace(">", "")
        for method in rule.methods or ():
            if "/signed/" in url and method == "OPTIONS":
                continue  # which says nothing but the methods
            answer = app.test_client().open(url, method=method, data=b"{}")
            assert answer.status_code == (403 if "/signed/" in url else 401), (method, url)
            assert answer.headers["x-request-id"]
            tried += 1
    assert tried > 10


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_url_of_a_dialect_is_answered_by_it(dialect):
    for prefix in dialect.prefixes:
        assert of_path(f"{prefix}nothing") is dialect
