"""Bodies, queries and URLs that nobody should send: each gets an error of the right shape, none a 500."""

import json

import pytest

from tests.dialects.conftest import JOBS, problem


def sent(ann, body: bytes, content_type: str = "application/json"):
    return ann.http.post(JOBS, data=body, content_type=content_type, headers=ann.headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b'{"model": NaN}',
        b'{"model": Infinity}',
        b'{"seed": 1e999}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"seed": 99999999999999999999}',
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"model": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        b'{"model": "tiny", }',
        b"\x00",
    ],
)
def test_a_body_that_is_no_usable_json_object_is_refused(ann, body):
    assert problem(sent(ann, body), 400)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "1e999", "99999999999999999999", "[" * 40 + "]" * 40, '"\\ud800"']
)
def test_one_value_that_cannot_be_kept_spoils_a_body_that_is_good_otherwise(ann, value):
    good = json.dumps({"model": "tiny/base", "training_file": ann.file()})
    assert sent(ann, good.encode()).status_code == 200
    problem(sent(ann, f'{good[:-1]}, "anything": {value}}}'.encode()), 400)


def test_a_byte_that_is_not_utf8_is_located(ann):
    assert "byte 2" in problem(sent(ann, b'{"\xff": 1}'), 400)["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_of_another_type_is_refused(ann, kind):
    assert "application/json" in problem(sent(ann, b"{}", kind), 400)["message"]


def test_a_body_over_the_limit_is_refused(ann):
    answer = sent(ann, json.dumps({"model": "x" * 70_000}).encode())
    assert "64 KB" in problem(answer, 413)["message"]


def test_a_body_just_within_the_limit_is_read(ann):
    body = {"model": "tiny/base", "training_file": ann.file(), "padding": ""}
    body["padding"] = "x" * (64 * 1024 - len(json.dumps(body)))
    assert sent(ann, json.dumps(body).encode()).status_code == 200


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ({"model": "a\0b"}, "model"),
        ({"suffix": "\0"}, "suffix"),
        ({"metadata": {"k": "\0"}}, "metadata.k"),
        ({"metadata": {"k\0": "v"}}, "metadata"),
        ({"training_file": "file-\0"}, "training_file"),
        ({"unknown": {"deep": ["\0"]}}, "unknown.deep[0]"),
        ({"method": {"type": "\0"}}, "method.type"),
        ({"hyperparameters": {"lora_target_modules": ["\0"]}}, "hyperparameters.lora_target_modules[0]"),
        ({"model": "\ud800"}, "model"),
    ],
)
def test_a_nul_or_half_a_surrogate_pair_in_any_string_is_refused_where_it_stands(ann, member, where):
    error = problem(ann.create(**member), 400)
    assert error["param"] == where


def test_a_nul_in_a_key_of_the_body_is_refused(ann):
    problem(ann.create(**{"a\0b": 1}), 400)


@pytest.mark.parametrize("query", ["after=%00", "limit=%00", "metadata[a]=%00", "metadata[%00]=a", "%00=1"])
def test_a_nul_in_the_query_is_refused(ann, query):
    problem(ann.http.get(f"{JOBS}?{query}", headers=ann.headers), 400)


@pytest.mark.parametrize("collection", [JOBS, "/v1/files", "/v1/models"])
@pytest.mark.parametrize(
    "name",
    ["%00", "a%00b", "a%2Fb", "100%25", "%25%32%46", "%FF%FE", "..%2F..%2Fetc%2Fpasswd", "%F0%9F%8D%8B", "a b", "'--"],
)
def test_a_strange_id_is_unknown_and_no_more(ann, collection, name):
    error = problem(ann.get(f"{collection}/{name}"), 404)
    assert "\0" not in error["message"]


@pytest.mark.parametrize("limit", ["-1", "1.5", "many", "", "+5", "1e3", "٣", "9" * 30])
def test_a_limit_that_is_no_whole_number_is_refused(ann, limit):
    for url in (JOBS, "/v1/files", f"{JOBS}/{ann.job()['id']}/events"):
        assert problem(ann.get(url, limit=limit), 400)["param"] == "limit"


@pytest.mark.parametrize(
    "url", ["/", "/v1", "/v1/", "/v1/nothing", "/v2/files", "/v1/files/", "//v1/files", "/static/x"]
)
def test_an_unknown_url_is_answered_in_the_dialects_shape(ann, url):
    error = problem(ann.get(url), 404)
    assert error["code"] == "unknown_url"


def test_an_unknown_method_is_answered_in_the_dialects_shape_with_the_known_ones(ann):
    answer = ann.delete(f"{JOBS}/some-job")
    assert problem(answer, 405)["type"] == "invalid_request_error"
    assert "GET" in answer.headers["Allow"]


def test_an_unexpected_error_tells_the_caller_nothing_but_the_request(ann, monkeypatch, caplog):
    def broken(*_args, **_options):
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr("app.actions.jobs.page", broken)
    answer = ann.get(JOBS)
    error = problem(answer, 500)
    assert error["type"] == "server_error"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in error["message"]
    assert "ZeroDivisionError" in caplog.text


def test_the_callers_request_id_is_kept_when_it_is_a_sound_one(ann):
    kept = ann.http.get("/healthz", headers={"X-Request-ID": "trace-12345678"})
    made = ann.http.get("/healthz", headers={"X-Request-ID": "a b\tc"})
    assert kept.headers["x-request-id"] == "trace-12345678"
    assert made.headers["x-request-id"].startswith("req_")


def test_every_request_has_an_id_of_its_own(ann):
    assert len({ann.http.get("/healthz").headers["x-request-id"] for _ in range(5)}) == 5
