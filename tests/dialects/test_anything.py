"""Whatever is sent, the answer is one of ours: never a 500, always an envelope that is whole."""

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from app.dialects.openai.hyperparameters import WIRE_NAMES
from tests.dialects.conftest import JOBS, problem

NAMES = [
    "model",
    "training_file",
    "suffix",
    "seed",
    "metadata",
    "method",
    "hyperparameters",
    "type",
    "supervised",
    "dpo",
]
TEXTS = some.text(max_size=20) | some.sampled_from(["tiny/base", "auto", "supervised", "dpo", "\0", "x" * 70])
SCALARS = some.none() | some.booleans() | some.integers() | some.floats() | TEXTS
KEYS = some.sampled_from([*NAMES, *WIRE_NAMES, "integrations", "validation_file"]) | some.text(max_size=5)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
BODIES = some.dictionaries(KEYS, VALUES, max_size=8)

tried = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.fixture
def file(ann) -> str:
    return ann.file()


@tried
@given(body=BODIES)
def test_any_json_makes_a_job_or_an_error(ann, file, body):
    wanted = {"model": "tiny/base", "training_file": file, **body}
    text = json.dumps(wanted)
    answer = ann.http.post(JOBS, data=text, content_type="application/json", headers=ann.headers)
    if answer.status_code != 200:
        problem(answer, 400)


@tried
@given(body=some.binary(max_size=300))
def test_any_bytes_are_an_error(ann, body):
    answer = ann.http.post(JOBS, data=body, content_type="application/json", headers=ann.headers)
    problem(answer, 400)


@tried
@given(body=some.binary(max_size=300), boundary=some.text("b-'", min_size=1, max_size=3))
def test_any_bytes_are_no_file(ann, body, boundary):
    kind = f"multipart/form-data; boundary={boundary}"
    answer = ann.http.post("/v1/files", data=b"--b\r\n" + body, content_type=kind, headers=ann.headers)
    problem(answer, 400)


@tried
@given(name=some.text(min_size=1, max_size=30), verb=some.sampled_from(["", "/events", "/checkpoints", "/content"]))
@pytest.mark.parametrize("collection", [JOBS, "/v1/files", "/v1/models"])
def test_any_name_is_unknown(ann, collection, name, verb):
    url = f"{collection}/{quote(name.encode('utf-8', 'replace'), safe='')}{verb}"
    answer = ann.http.get(url, headers=ann.headers)
    assert answer.status_code in (404, 200) if "tiny/base" in name else answer.status_code == 404, answer.text


@tried
@given(
    query=some.dictionaries(some.sampled_from(["after", "limit", "order", "purpose", "metadata", "metadata[a]"]), TEXTS)
)
@pytest.mark.parametrize("collection", [JOBS, "/v1/files", "/v1/models"])
def test_any_query_is_a_page_or_an_error(ann, collection, query):
    text = "&".join(f"{name}={quote(value.encode('utf-8', 'replace'), safe='')}" for name, value in query.items())
    answer = ann.http.get(f"{collection}?{text}", headers=ann.headers)
    if answer.status_code != 200:
        problem(answer, 400)
