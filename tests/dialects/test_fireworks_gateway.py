"""Portkey's open gateway in front of this server, as an upstream of the type Fireworks."""

import json

import pytest
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

from tests.dialects.conftest import ROWS, person
from tests.dialects.fireworks import SFT, Account, local, refused, trained
from tests.dialects.test_fireworks_jobs import row


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


def test_a_gateway_in_front_creates_lists_and_cancels_jobs(app, account):
    """Its JSON comes as text, but for a create."""

    def send(method: str, path: str, body: object) -> TestResponse:
        headers = {**account.who.headers, "content-type": "text/plain;charset=UTF-8"}
        return account.who.http.open(account.url(path), method=method, data=json.dumps(body), headers=headers)

    dataset, rows = "9e107d9d-372b-4bb6-826d-81d3542a419d", ROWS.removesuffix(b"\n") + b"\n"
    assert send("POST", "datasets", {"datasetId": dataset, "dataset": {"userUploaded": {}}}).status_code == 200
    sizes = {"filenameToSize": {f"{dataset}.jsonl": len(rows)}}
    urls = send("POST", f"datasets/{dataset}:getUploadEndpoint", sizes).json["filenameToSignedUrls"]
    bounds = {"x-goog-content-length-range": f"{len(rows)},{len(rows)}"}
    assert account.put(urls[f"{dataset}.jsonl"], rows, **bounds).status_code == 200
    assert send("POST", f"datasets/{dataset}:validateUpload", {}).status_code == 200
    body = {
        "dataset": f"accounts/ann/datasets/{dataset}",
        "displayName": "tickets",
        "baseModel": "accounts/fireworks/models/gpt-4o-mini",
        "epochs": 2,
        "learning_rate": 2,
        "outputModel": "accounts/ann/models/tickets",
    }
    made = account.post(SFT, body).json
    assert made["outputModel"] == "accounts/ann/models/tickets"
    listed = account.get(SFT, pageToken="1", pageSize=50).json
    assert [job["name"] for job in listed[SFT]] == [made["name"]]
    trained(account, "a-first")
    behind = account.get(SFT, pageToken="a-first", pageSize=50).json
    assert [job["name"] for job in behind[SFT]] == [made["name"]]
    account.delete(f"{SFT}/a-first")
    job_id = made["name"].rsplit("/", 1)[-1]
    cancelled = send("DELETE", f"{SFT}/{job_id}", {})
    assert (cancelled.json["name"], cancelled.json["state"]) == (made["name"], "JOB_STATE_CANCELLED")
    assert account.get(SFT, pageToken="1", pageSize=50).json[SFT] == []
    assert Account(person(app, "ann")).who.row(job_id).status == "cancelled"


@pytest.mark.parametrize(
    ("name", "sent", "status"),
    [("a", b"1\n2\n", 200), ("a", b"1\n2", 403), ("a", b"1\n", 403), ("weights.txt", b"1\n2\n", 403)],
)
def test_a_gateway_announces_one_end_of_a_line_more_than_it_sends(app, account, name, sent, status):
    """It counts as if no file ended with one, and sends without a length; nothing else of a file may be missing."""
    account.begin("d")
    file = name if "." in name else f"{name}.jsonl"
    sizes = {"filenameToSize": {file: len(b"1\n2\n") + 1}}
    [url] = account.post("datasets/d:getUploadEndpoint", sizes).json["filenameToSignedUrls"].values()
    chunks = {"wsgi.input_terminated": True, **EnvironBuilder(local(url), method="PUT", data=sent).get_environ()}
    del chunks["CONTENT_LENGTH"]
    assert run_wsgi_app(app, chunks)[1].startswith(str(status))
    if status == 200:
        assert account.post("datasets/d:validateUpload").status_code == 200
        assert account.get("datasets/d").json["exampleCount"] == "2"


def test_headers_of_a_gateway_are_read_at_this_door_too(account):
    account.ready("d")
    body, url = {"dataset": "d", "baseModel": "tiny/base"}, account.url(SFT)
    made = account.who.post(url, body, **{"x-portkey-metadata": '{"team": "support"}', "x-portkey-trace-id": "run-7"})
    assert row(account, made.json["name"].rsplit("/", 1)[-1]).metadata == {
        "team": "support",
        "x-portkey-trace-id": "run-7",
    }
    for headers in ({"x-portkey-virtual-key": "vk"}, {"x-portkey-metadata": "team"}):
        answer = account.who.post(url, body, **headers)
        refused(answer, 400, 3)
        assert answer.json["details"] == [{"field": next(iter(headers))}]
    assert account.get(SFT).json["totalSize"] == 1
