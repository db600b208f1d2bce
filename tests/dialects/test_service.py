"""The service's own pages: health, readiness, and the description of the API."""

import json
import logging
import re

import pytest

from app import logs
from app.blobs import StorageError
from app.core.errors import Unavailable


def test_health_and_readiness_need_no_key(ann):
    assert ann.http.get("/healthz").json == {"status": "ok"}
    assert ann.http.get("/readyz").json == {"status": "ok", "postgres": "ok", "redis": "ok", "storage": "ok"}


@pytest.mark.parametrize(
    ("part", "broken"),
    [("postgres", "app.store.db.ping"), ("redis", "app.queue.ping"), ("storage", "app.blobs.Directory.ping")],
)
def test_what_is_away_is_named(ann, monkeypatch, part, broken):
    def away(*_args):
        raise (StorageError if part == "storage" else Unavailable)("it is away")

    monkeypatch.setattr(broken, away)
    answer = ann.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["status"] == "unavailable"
    assert answer.json[part] == "it is away"
    assert sorted(answer.json.values()).count("ok") == 2


@pytest.fixture
def description(ann):
    return ann.http.get("/openapi.json").json


def operations(description):
    return [
        (path, method, operation)
        for path, members in description["paths"].items()
        for method, operation in members.items()
        if method != "parameters"
    ]


def test_every_route_is_described(app, description):
    described = {(path, method) for path, method, _ in operations(description)}
    served = {
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert served - described == {("/openapi.json", "get"), ("/docs", "get")}
    assert described <= served


def test_every_operation_says_what_it_answers_and_every_reference_leads_somewhere(description):
    assert description["openapi"] == "3.1.0"
    for path, method, operation in operations(description):
        assert operation["summary"], (path, method)
        assert {"200", "404", "501"} & operation["responses"].keys(), (path, method)
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(description)):
        found = description
        for step in reference.split("/"):
            found = found[step]


def test_every_operation_but_health_and_signed_urls_needs_one_of_the_three_headers(description):
    assert {scheme["type"] for scheme in description["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    assert [list(one) for one in description["security"]] == [["bearer"], ["portkey"], ["azure"]]
    free = {path for path, _, operation in operations(description) if operation.get("security") == []}
    assert {path for path in free if "/{account_id}/signed/" not in path} == {"/healthz", "/readyz"}


def test_a_job_on_the_wire_holds_exactly_the_described_members(ann, description):
    schema = description["components"]["schemas"]["Job"]
    job = ann.job()
    assert job.keys() == schema["properties"].keys()
    assert set(schema["required"]) <= job.keys()


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(ann, description):
    page = ann.http.get("/docs")
    assert page.mimetype == "text/html"
    for path, method, _ in operations(description):
        assert f"{method.upper()} {path}" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text


def test_a_log_line_is_json_with_the_ids_that_are_bound():
    record = logging.makeLogRecord({"msg": "read %d rows\n", "args": (3,), "levelname": "INFO", "step": 7})
    logs.bind(request_id="req_1")
    with logs.bound(job_id="ftjob-1"):
        line = logs.JsonFormatter().format(record)
    after = logs.JsonFormatter().format(record)
    logs.bind()
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "read 3 rows\n"
    assert (told["request_id"], told["job_id"], told["step"]) == ("req_1", "ftjob-1", 7)
    assert "job_id" not in json.loads(after)
