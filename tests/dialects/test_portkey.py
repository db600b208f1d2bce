"""Portkey's headers: what they file with a job, what they may not ask for, and what is answered."""

import json

import pytest

from tests.dialects.conftest import JOBS, problem
from tests.store.conftest import queued

METADATA, TRACE_ID = "x-portkey-metadata", "x-portkey-trace-id"
ANSWERED = {
    "x-portkey-provider": "tuneyard",
    "x-portkey-last-used-option-index": "config",
    "x-portkey-retry-attempt-count": "0",
    "x-portkey-cache-status": "DISABLED",
}
DEEP = '{"targets": [' * 500 + "]}" * 500


def created(ann, body=None, **headers):
    given = {f"x-portkey-{name.replace('_', '-')}": value for name, value in headers.items()}
    wanted = {"model": "tiny/base", "training_file": ann.file(), **(body or {})}
    return ann.post(JOBS, wanted, **given)


def found(ann, **metadata):
    query = {f"metadata[{key}]": value for key, value in metadata.items()}
    return [job["id"] for job in ann.get(JOBS, **query).json["data"]]


def test_metadata_and_trace_id_are_filed_with_the_job_and_searchable(ann):
    ann.job()
    job = created(ann, metadata='{"team": "support", "caf\\u00e9": "\\u00fc"}', trace_id="run-7").json
    assert job["metadata"] == {"team": "support", "café": "ü", TRACE_ID: "run-7"}
    assert found(ann, team="support") == found(ann, **{TRACE_ID: "run-7"}) == [job["id"]]


def test_the_bodys_pairs_win_over_the_headers(ann):
    job = created(ann, {"metadata": {"team": "sales", "own": "1"}}, metadata='{"team": "support", "env": "test"}').json
    assert job["metadata"] == {"team": "sales", "own": "1", "env": "test"}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_metadata_may_be_sent_in_either_encoding(ann, encoding):
    text = '{"town": "Málaga"}'.encode(encoding).decode("latin-1")
    assert created(ann, metadata=text).json["metadata"] == {"town": "Málaga"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("team=support", "not valid JSON"),
        ("[" * 3000, "not valid JSON"),
        ('["support"]', "Not a valid mapping"),
        ('{"team": 7}', "Not a valid string"),
        ('{"team": null}', "may not be null"),
        ('{"": "x"}', "between 1 and 64"),
        (json.dumps({"team": "x" * 513}), "between 0 and 512"),
        (json.dumps({str(number): "" for number in range(17)}), "at most 16 pairs"),
        ('{"team": "\\u0000"}', "NUL"),
        ('{"\\ud800": "x"}', "surrogate"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused_by_the_name_of_its_header(ann, text, said):
    error = problem(created(ann, metadata=text), 400)
    assert error["param"] == METADATA
    assert said in error["message"]


def test_a_pair_too_many_is_refused_by_the_header_that_brought_it(ann):
    full = {"metadata": {str(number): "" for number in range(16)}}
    assert problem(created(ann, full, metadata='{"team": "a"}'), 400)["param"] == METADATA
    assert problem(created(ann, full, trace_id="run-7"), 400)["param"] == TRACE_ID
    assert problem(created(ann, trace_id="x" * 513), 400)["param"] == TRACE_ID
    assert ann.get(JOBS).json["data"] == []


HOST = "localhost"  # of the test client
HERE = [
    {"provider": "openai"},
    {"provider": "Tuneyard"},
    {"custom_host": f"http://{HOST}/v1", "provider": "openai"},
    {"mode": "proxy openai"},
    {"config": '{"retry": {"attempts": 3}, "cache": {"mode": "simple"}, "request_timeout": 9}'},
    {"config": '{"provider": "openai", "api_key": "sk-1"}'},
    {"config": '{"strategy": {"mode": "single"}, "targets": [{"provider": "openai", "weight": 1}]}'},
    {"config": ""},
    {
        "cache": "simple",
        "cache_namespace": "a",
        "cache_force_refresh": "true",
        "retry_count": "2",
        "request_timeout": "1000",
        "forward_headers": "x-request-id",
        "provider_file_name": "train.jsonl",
        "provider_model": "m",
        "file_upload_size": "10",
        "package_version": "portkey-2.3.4",
    },
]
ELSEWHERE = [
    ("provider", "azure-openai", "x-portkey-provider"),
    ("provider", "@openai-prod", "x-portkey-provider"),
    ("virtual_key", "openai-9a1", "x-portkey-virtual-key"),
    ("custom_host", "https://api.openai.com/v1", "x-portkey-custom-host"),
    ("custom_host", "http://[", "x-portkey-custom-host"),
    ("mode", "proxy anthropic", "x-portkey-mode"),
    ("azure_resource_name", "r", "x-portkey-azure-resource-name"),
    ("vertex_project_id", "p", "x-portkey-vertex-project-id"),
    ("aws_region", "eu", "x-portkey-aws-region"),
    ("fireworks_account_id", "a", "x-portkey-fireworks-account-id"),
    ("config", "pc-prod-1", "x-portkey-config"),
    ("config", '{"provider"', "x-portkey-config"),
    ("config", '{"provider": "together-ai", "api_key": "k"}', "x-portkey-config.provider"),
    ("config", '{"virtual_key": "k"}', "x-portkey-config.virtual_key"),
    ("config", '{"custom_host": "http://other"}', "x-portkey-config.custom_host"),
    ("config", '{"override_params": {"model": "m"}}', "x-portkey-config.override_params"),
    ("config", '{"targets": [{"provider": "openai"}, {"provider": ["a"]}]}', "x-portkey-config.targets[1].provider"),
    ("config", '{"targets": ["pc-1"]}', "x-portkey-config.targets[0]"),
    ("config", '{"targets": {"provider": "openai"}}', "x-portkey-config.targets"),
    ("config", DEEP, "x-portkey-config"),
]


@pytest.mark.parametrize("headers", HERE)
def test_what_means_this_server_makes_a_job_here(ann, headers):
    assert created(ann, **headers).status_code == 200


@pytest.mark.parametrize(("name", "value", "param"), ELSEWHERE)
def test_what_names_another_upstream_makes_no_job_and_says_why(ann, name, value, param):
    error = problem(created(ann, **{name: value}), 400)
    assert error["param"] == param
    assert param in error["message"]
    assert ann.get(JOBS).json["data"] == []


def test_options_of_portkeys_own_fine_tuning_are_read_as_the_headers_are(ann):
    error = problem(created(ann, {"portkey_options": {"x-portkey-virtual-key": "openai-9a1"}}), 400)
    assert (error["param"], error["code"]) == ("portkey_options.x-portkey-virtual-key", "not_relayed")
    assert created(ann, {"portkey_options": {"x-portkey-provider": "openai"}}).status_code == 200


def test_a_dry_run_is_refused_where_its_job_would_be(ann):
    problem(created(ann, {"dry_run": True}, virtual_key="openai-9a1"), 400)


def test_reading_listing_and_cancelling_do_not_mind_another_upstream(ann):
    job = ann.job()["id"]
    headers = {**ann.headers, "x-portkey-virtual-key": "openai-9a1", METADATA: "no JSON"}
    assert ann.http.get(f"{JOBS}/{job}", headers=headers).status_code == 200
    assert ann.http.get(JOBS, headers=headers).status_code == 200
    assert ann.http.post(f"{JOBS}/{job}/cancel", headers=headers).json["status"] == "cancelled"


def test_answers_carry_portkeys_headers_and_the_trace_id_that_was_sent(ann):
    answer = ann.http.get(JOBS, headers={"x-portkey-api-key": ann.secret, TRACE_ID: "run-7"})
    assert {name: answer.headers[name] for name in ANSWERED} == ANSWERED
    assert answer.headers[TRACE_ID] == "run-7"


def test_a_trace_id_that_was_not_sent_is_the_requests_id_on_errors_too(ann):
    answer = ann.http.get(f"{JOBS}/ftjob-none", headers={"x-portkey-api-key": ann.secret})
    assert problem(answer, 404)
    assert answer.headers[TRACE_ID] == answer.headers["x-request-id"]


def test_a_request_without_portkeys_headers_is_answered_without_them(ann):
    assert not [name for name, _ in ann.get(JOBS).headers if name.lower().startswith("x-portkey")]


@pytest.mark.parametrize(("said", "status"), [("true", "queued"), ("false", "paused")])
def test_strict_compliance_shows_a_paused_job_as_queued(ann, said, status):
    job = ann.job()["id"]
    queued(ann.row(job))
    assert ann.post(f"{JOBS}/{job}/pause").json["status"] == "paused"
    answer = ann.http.get(f"{JOBS}/{job}", headers={**ann.headers, "x-portkey-strict-open-ai-compliance": said})
    assert answer.json["status"] == status
