"""The page of compatibility says what is true of the application as it is."""

import copy
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from openai.pagination import SyncCursorPage
from openai.types.file_create_params import ExpiresAfter
from openai.types.fine_tuning import FineTuningJob
from openai.types.fine_tuning.job_create_params import Method

from tests.compatibility import calls, matrix, types
from tests.conformance import rows
from tests.conformance.application import around
from tests.dialects.conftest import app, storage

__all__ = ["app", "storage"]

PAGE = Path(__file__).resolve().parents[2] / "deploy" / "COMPATIBILITY.md"


@pytest.fixture(scope="module")
def document(app) -> dict[str, Any]:
    described: dict[str, Any] = app.test_client().get("/openapi.json").get_json()
    return described


@pytest.fixture(scope="module")
def caller(app) -> calls.Caller:
    rows.store_contents()
    return calls.caller(around(app.wsgi_app, put_back=rows.put_back))


def test_the_page_is_the_truth(caller, document):
    truth = matrix.markdown(matrix.sections(caller, document), f"openai {version('openai')}")
    if "REGENERATE" in os.environ:
        PAGE.write_text(truth, "utf-8")
    assert PAGE.read_text("utf-8") == truth, "run `make matrix`, and read what changed"


def of_list(caller: calls.Caller, document: dict[str, Any]) -> matrix.Section:
    [listing] = [call for call in caller.calls() if call.name == "fine_tuning.jobs.list"]
    return matrix.section(caller, listing, document)


def status(lines: tuple[matrix.Line, ...], field: str) -> str:
    [found] = [line.status for line in lines if line.field == field]
    return found


def test_what_is_taken_without_being_described_is_ignored(caller, document):
    assert status(of_list(caller, document).taken, "limit") == "same"
    changed = copy.deepcopy(document)
    described = changed["paths"]["/v1/fine_tuning/jobs"]["get"]
    described["parameters"] = [item for item in described["parameters"] if item["name"] != "limit"]
    assert status(of_list(caller, changed).taken, "limit") == "ignored"


def test_a_member_that_is_not_answered_is_absent_and_one_with_more_words_extended(caller, document):
    assert status(of_list(caller, document).answered, "data[].seed") == "same"
    changed = copy.deepcopy(document)
    job = changed["components"]["schemas"]["Job"]["properties"]
    del job["seed"]
    job["object"]["enum"].append("another")
    found = of_list(caller, changed).answered
    assert status(found, "data[].seed") == "absent"
    assert status(found, "data[].object") == "extended"


def test_a_call_of_which_we_describe_no_operation_is_absent(caller, document):
    changed = copy.deepcopy(document)
    del changed["paths"]["/v1/fine_tuning/jobs"]
    assert of_list(caller, changed).status == "absent"


def test_a_member_of_a_variant_is_tried_in_that_variant():
    tried = {found.name: found.examples for found in types.parameters("method", Method)}
    beta = tried["method.dpo.hyperparameters.beta"]
    assert beta["'auto'"] == {"type": "dpo", "dpo": {"hyperparameters": {"beta": "auto"}}}
    assert beta["float"]["dpo"]["hyperparameters"]["beta"] == 0.5
    assert tried["method.type"]["'supervised'"] == {"type": "supervised"}


def test_a_member_is_tried_beside_those_that_its_object_must_have():
    tried = {found.name: found.examples for found in types.parameters("expires_after", ExpiresAfter)}
    assert tried["expires_after.anchor"]["'created_at'"] == {"anchor": "created_at", "seconds": 3600}


def test_a_page_has_the_members_of_its_items():
    found = {member.name: member.choices for member in types.members(SyncCursorPage[FineTuningJob])}
    assert found["data[].status"] >= {"queued", "running"}
    assert {"has_more", "data[].error.code", "data[].method.supervised.hyperparameters.n_epochs"} <= found.keys()
