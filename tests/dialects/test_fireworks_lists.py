"""Lists by the Fireworks dialect: pages, filters, orders and masks."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from app.store.db import transaction
from tests.dialects.conftest import person
from tests.dialects.fireworks import Account, refused

NAMES = ["a-one", "B-two", "c-three", "d-four", "e-five"]


@pytest.fixture(scope="module")
def account(app) -> Account:
    """Nothing here is changed by the tests of this module."""
    with transaction() as conn:
        conn.execute("truncate datasets, files, aliases")
    account = Account(person(app, "ann"))
    for number, name in enumerate(NAMES):
        account.begin(name, displayName=f"Set {number % 2}", format="CHAT" if number < 2 else "")
    account.upload("c-three")
    return account


def names(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["name"].rsplit("/", 1)[-1] for item in answer.json["datasets"]]


def pages(account: Account, **query) -> list[list[str]]:
    """All pages, by their tokens."""
    found, token = [], ""
    while True:
        answer = account.get("datasets", pageToken=token, **query)
        found.append(names(answer))
        assert answer.get_json()["totalSize"] >= len(found[-1])
        token = answer.get_json()["nextPageToken"]
        if not token:
            return found


IN_BYTES = ["B-two", "a-one", "c-three", "d-four", "e-five"]


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("", IN_BYTES),
        ("orderBy", IN_BYTES),
        ("name desc", IN_BYTES[::-1]),
        ("createTime", NAMES),
        ("create_time desc", NAMES[::-1]),
        ("displayName desc, name", ["B-two", "d-four", "a-one", "c-three", "e-five"]),
        ("displayName,createTime desc", ["e-five", "c-three", "a-one", "d-four", "B-two"]),
        ("state,name", ["c-three", "B-two", "a-one", "d-four", "e-five"]),
    ],
)
@pytest.mark.parametrize("size", [2, 5])
def test_pages_join_to_the_list_in_the_order_that_was_asked_for(account, order, wanted, size):
    found = pages(account, orderBy=order, pageSize=size)
    assert [name for page in found for name in page] == wanted
    assert [len(page) for page in found] == ([2, 2, 1] if size == 2 else [5])


def test_a_page_goes_on_behind_what_was_deleted_meanwhile(app):
    other = Account(person(app, "gina"))
    for name in ("a", "b", "c"):
        other.begin(name)
    first = other.get("datasets", pageSize=2).json
    other.delete("datasets/b")
    assert names(other.get("datasets", pageSize=2, pageToken=first["nextPageToken"])) == ["c"]


@pytest.mark.parametrize(
    "asked", [{}, {"pageSize": 0}, {"pageSize": ""}, {"pageToken": ""}, {"pageToken": "1"}, {"pageSize": 100_000}]
)
def test_the_first_page_is(account, asked):
    if asked.get("pageSize") == "":
        refused(account.get("datasets", **asked), 400, 3)
        return
    answer = account.get("datasets", **asked)
    assert names(answer) == IN_BYTES
    assert (answer.json["nextPageToken"], answer.json["totalSize"]) == ("", 5)


@pytest.mark.parametrize("size", ["-1", "x", "1.5", "9" * 30])
def test_a_size_that_is_none_is_refused(account, size):
    assert "pageSize" in refused(account.get("datasets", pageSize=size), 400, 3)


@pytest.mark.parametrize(
    "token",
    ["pageToken", "2", "ä", "e30", base64.urlsafe_b64encode(b"[" * 3000).decode(), base64.b64encode(b'["x"]').decode()],
)
def test_a_token_that_is_none_of_ours_is_an_empty_page(account, token):
    answer = account.get("datasets", pageToken=token)
    assert answer.json == {"datasets": [], "nextPageToken": "", "totalSize": 0}


@pytest.mark.parametrize("time", ["0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "now", 7])
def test_a_token_with_another_time_is_a_page(account, time):
    query = {"pageSize": 1, "orderBy": "createTime"}
    token = account.get("datasets", **query).json["nextPageToken"]
    digest, _, *rest = json.loads(base64.urlsafe_b64decode(token + "==="))
    forged = base64.urlsafe_b64encode(json.dumps([digest, time, *rest]).encode()).decode().rstrip("=")
    assert account.get("datasets", pageToken=forged, **query).status_code == 200


def test_pages_go_on_behind_names_with_line_breaks_and_none(app):
    other = Account(person(app, "dora"))
    for number, name in enumerate(("", "a\nb", "ä\u2028", "")):
        other.begin(f"d{number}", displayName=name)
    assert pages(other, orderBy="displayName", pageSize=1) == [["d0"], ["d3"], ["d1"], ["d2"]]


@pytest.mark.parametrize(
    "place", [["\ud800", "x"], [7, "x"], ["\0", "x"], ["a"], ["a", "b", "c"], [None, None], [["a"], "b"]]
)
def test_a_token_that_was_tampered_with_is_an_empty_page(account, place):
    token = account.get("datasets", pageSize=1).json["nextPageToken"]
    digest = json.loads(base64.urlsafe_b64decode(token + "==="))[0]
    forged = base64.urlsafe_b64encode(json.dumps([digest, *place]).encode()).decode().rstrip("=")
    assert account.get("datasets", pageToken=forged).json["datasets"] == []


@pytest.mark.parametrize("query", [{"filter": "Set"}, {"orderBy": "name desc"}])
def test_a_token_of_another_query_is_refused(account, query):
    token = account.get("datasets", pageSize=2).json["nextPageToken"]
    assert "of another query" in refused(account.get("datasets", pageToken=token, **query), 400, 3)
    refused(account.get("models", pageToken=token), 400, 3)


def test_a_token_of_another_account_is_refused(app, account):
    token = account.get("datasets", pageSize=2).json["nextPageToken"]
    refused(Account(person(app, "bob")).get("datasets", pageToken=token), 400, 3)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("filter", []),
        ("three", ["c-three"]),
        ("SET 1", ["B-two", "d-four"]),
        ("-three", ["B-two", "a-one", "d-four", "e-five"]),
        ("three OR four", ["c-three", "d-four"]),
        ('displayName = "Set 1"', ["B-two", "d-four"]),
        ('display_name = "Set 1" AND name = "*-f*"', ["d-four"]),
        ('name != "*-*e"', ["B-two", "d-four"]),
        ("name = accounts/ann/datasets/a-one", ["a-one"]),
        ("name >= c", ["c-three", "d-four", "e-five"]),
        ("name:FO", ["d-four"]),
        ("format:* NOT two", ["a-one"]),
        ("state = READY", ["c-three"]),
        ("NOT (state = READY OR one)", ["B-two", "d-four", "e-five"]),
        ("createTime > 2020-01-01T00:00:00Z", IN_BYTES),
        ("createTime < 2020-01-01T00:00:00+01:00", []),
        ('createTime >= "2020-01-01"', IN_BYTES),
        ('name = "\'; drop table files; --"', []),
        ("100%", []),
        ("name = 'a_one*'", []),
    ],
)
def test_a_filter_finds(account, text, wanted):
    answer = account.get("datasets", filter=text)
    assert names(answer) == wanted
    assert answer.json["totalSize"] == len(wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing = 1", "no field 'nothing'"),
        ("bytes = 1", "no field 'bytes'"),
        ("displayName.x = 1", "no field"),
        ("createTime > yesterday", "'createTime' is a time"),
        ("createTime:2020", "':' is for texts"),
        ("state = DONE", "one of UPLOADING, READY"),
        ("size(name)", "functions are not supported"),
        ("name =", "at its end"),
        ("(name = a", "not closed"),
    ],
)
def test_a_filter_that_cannot_be_used_is_refused_with_the_reason(account, text, said):
    answer = account.get("datasets", filter=text)
    assert said in refused(answer, 400, 3)
    assert answer.json["details"] == [{"field": "filter"}]


def test_an_order_with_another_direction_is_refused(account):
    assert "'name down' is none" in refused(account.get("datasets", orderBy="name down"), 400, 3)


PIECES = some.sampled_from(["name", "createTime", "=", ">", ":", "!=", "(", ")", " AND ", "-", "*", '"', "%", "a", " "])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(text=(some.lists(PIECES, max_size=9).map("".join) | some.text(max_size=9)), order=some.text(max_size=5))
def test_any_filter_and_order_is_a_page_or_an_error(account, text, order):
    query = f"filter={quote(text.encode('utf-8', 'replace'))}&orderBy={quote(order.encode('utf-8', 'replace'))}"
    answer = account.who.http.get(account.url(f"datasets?{query}"), headers=account.who.headers)
    if answer.status_code != 200:
        refused(answer, 400, 3)


@pytest.mark.parametrize(
    ("mask", "members"),
    [
        ("displayName", {"name", "displayName"}),
        ("display_name, state", {"name", "displayName", "state"}),
        ("status.code", {"name", "status"}),
        ("readMask", {"name"}),
    ],
)
def test_a_mask_leaves_the_named_fields_and_the_name(account, mask, members):
    assert set(account.get("datasets/a-one", readMask=mask).json) == members
    assert {frozenset(item) for item in account.get("datasets", readMask=mask).json["datasets"]} == {frozenset(members)}


@pytest.mark.parametrize("mask", ["", "*"])
def test_a_blank_mask_leaves_all(account, mask):
    assert len(account.get("datasets/a-one", readMask=mask).json) == 9
