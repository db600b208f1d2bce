"""Portkey's open gateway in front of this server, as an upstream of the type Fireworks."""

import json

import pytest
from werkzeug.test import TestResponse

from tests.dialects.conftest import ROWS, person
from tests.dialects.fireworks import SFT, Account, refused, trained
from tests.dialects.test_fireworks_jobs import row


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


def test_a_gateway_in_front_creates_lists_and_cancels_jobs(app, account):
    """As Portkey's open gateway sends it, upstream type Fireworks."""
    dataset = account.ready("9e107d9d-372b-4bb6-826d-81d3542a419d")
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
    cancelled = account.who.http.delete(account.url(f"{SFT}/{job_id}"), json={}, headers=account.who.headers)
    assert (cancelled.json["name"], cancelled.json["state"]) == (made["name"], "JOB_STATE_CANCELLED")
    assert account.get(SFT, pageToken="1", pageSize=50).json[SFT] == []
    assert Account(person(app, "ann")).who.row(job_id).status == "cancelled"


def test_a_gateway_that_says_its_json_is_plain_text_uploads_rows(account):
    """It names no content type, and its runtime then says text/plain."""

    def said(path: str, body: object) -> TestResponse:
        text, plain = json.dumps(body), "text/plain;charset=UTF-8"
        answer = account.who.http.post(account.url(path), data=text, content_type=plain, headers=account.who.headers)
        assert answer.status_code == 200, answer.text
        return answer

    said("datasets", {"datasetId": "0-1", "dataset": {"userUploaded": {}}})
    urls = said("datasets/0-1:getUploadEndpoint", {"filenameToSize": {"0-1.jsonl": len(ROWS)}})
    [url] = urls.json["filenameToSignedUrls"].values()
    bounds = {"x-goog-content-length-range": f"{len(ROWS)},{len(ROWS)}"}
    assert account.put(url, ROWS, **bounds).status_code == 200
    said("datasets/0-1:validateUpload", {})
    assert account.get("datasets/0-1").json["exampleCount"] == "10"


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
