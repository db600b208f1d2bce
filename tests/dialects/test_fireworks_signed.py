"""Signed URLs: one file, of one size, for an hour, without a key; and the datasets that are made of such files."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.actions import shards, signed_urls
from app.blobs import storage as blobs
from app.store import paths, uploads
from app.store.db import transaction
from tests.dialects.conftest import ROWS
from tests.dialects.fireworks import Account, local, refused
from tests.settings import settings
from workers import clock


@pytest.fixture
def account(ann, storage) -> Account:
    shutil.rmtree(storage / "uploads", ignore_errors=True)
    account = Account(ann)
    account.begin("d")
    return account


def content(account: Account) -> bytes:
    [url] = account.get("datasets/d:getDownloadEndpoint").get_json()["filenameToSignedUrls"].values()
    return bytes(account.fetch(url).data)


def shards_in(storage: Path) -> list[Path]:
    return [path for path in (storage / "uploads").rglob("*") if path.is_file()]


@contextmanager
def announcing(account: Account, **changes: str) -> Iterator[None]:
    """The same server with other settings."""
    kept = ("database_url", "redis_url", "redis_prefix", "storage_url", "models_file")
    others = {name: os.environ[name.upper()] for name in kept}
    with settings(**others, secret_key="a secret of the tests", **changes):
        yield


def changed(url: str, **query: str) -> str:
    for name, value in query.items():
        url, times = re.subn(rf"([?&]{name}=)[^&]*", rf"\g<1>{value}", url)
        assert times == 1
    return url


def test_shards_are_joined_in_the_order_of_their_names_each_on_lines_of_its_own(account):
    urls = account.announce("d", b="4", a=3, c=2)
    assert list(urls) == ["a", "b", "c"]
    for name, rows in (("c", b"9\n"), ("a", b"1\n2"), ("b", b"3\n4\n")):
        assert account.put(urls[name], rows).status_code == 200
    assert account.post("datasets/d:validateUpload").json == {}
    shown = account.get("datasets/d").json
    assert (shown["state"], shown["exampleCount"]) == ("READY", "5")
    assert content(account) == b"1\n2\n3\n4\n9\n"
    assert account.post("datasets/d:validateUpload").json == {}, "repeated, it changes nothing"


def test_of_two_who_join_at_once_both_are_told_that_it_is_done(account, storage, monkeypatch):
    account.put(account.announce("d", a=2)["a"], b"1\n")
    join, files = shards._join, set((storage / "files").rglob("*"))

    def late(parts, joined):
        monkeypatch.setattr(shards, "_join", join)
        assert account.post("datasets/d:validateUpload").json == {}
        return join(parts, joined)

    monkeypatch.setattr(shards, "_join", late)
    assert account.post("datasets/d:validateUpload").json == {}
    assert content(account) == b"1\n"
    assert len(set((storage / "files").rglob("*")) - files) == 1, "of the second file nothing is left"


def test_a_shard_may_be_sent_again_and_the_latest_counts(account, storage):
    urls = account.announce("d", a=2)
    assert account.put(urls["a"], b"1\n").status_code == 200
    assert account.put(urls["a"], b"2\n").status_code == 200
    assert len(shards_in(storage)) == 1
    account.post("datasets/d:validateUpload")
    assert content(account) == b"2\n"


def test_what_is_missing_is_named_and_nothing_is_lost(account):
    assert "No rows have come" in refused(account.post("datasets/d:validateUpload"), 400, 9)
    urls = account.announce("d", a=2, b=2)
    account.put(urls["a"], b"1\n")
    assert "1 of 2 files of 'd' have not come: 'b.jsonl'" in refused(account.post("datasets/d:validateUpload"), 400, 9)
    account.put(urls["b"], b"2\n")
    assert account.post("datasets/d:validateUpload").json == {}
    assert content(account) == b"1\n2\n"


def test_a_later_announcement_replaces_the_set(account):
    before = account.announce("d", a=2, b=2)
    account.put(before["a"], b"1\n")
    after = account.announce("d", a=2)
    assert "awaited at this URL" in refused(account.put(before["a"], b"1\n"), 403, 7)
    assert "'a.jsonl'" in refused(account.post("datasets/d:validateUpload"), 400, 9)
    assert account.put(after["a"], b"3\n").status_code == 200
    account.post("datasets/d:validateUpload")
    assert content(account) == b"3\n"


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"": 1},
        {"..": 1},
        {"x/a.jsonl": 1},
        {"x\\a.jsonl": 1},
        {"a" * 256: 1},
        {"a.jsonl": -1},
        {"a.jsonl": "-1"},
        {"a.jsonl": 1.5},
        {"a.jsonl": True},
        {"a.jsonl": "1.5"},
        {"a.jsonl": "2 MB"},
        {"a.jsonl": []},
        {"a.jsonl": "9" * 30},
        {"\n.jsonl": 1},
        {f"{number}.jsonl": 1 for number in range(1001)},
    ],
)
def test_what_can_be_no_set_of_shards_is_refused(account, sizes):
    answer = account.post("datasets/d:getUploadEndpoint", {"filenameToSize": sizes})
    refused(answer, 400, 3)
    assert answer.json["details"][0]["field"].startswith("filenameToSize")


@pytest.mark.parametrize("size", ["1", "string"])
def test_shards_that_are_larger_together_than_this_server_takes_are_refused(account, size):
    sizes = {"a.jsonl": 8 << 30, "b.jsonl": size}
    refused(account.post("datasets/d:getUploadEndpoint", {"filenameToSize": sizes}), 413, 3)


@pytest.mark.parametrize("name", ["a.txt", "a.JSONL", "rows", "ä b.json"])
def test_rows_may_come_in_a_file_of_any_name_that_is_no_path(account, name):
    answer = account.post("datasets/d:getUploadEndpoint", {"filenameToSize": {name: 2}})
    assert account.put(answer.json["filenameToSignedUrls"][name], b"1\n").status_code == 200
    account.post("datasets/d:validateUpload")
    assert content(account) == b"1\n"


@pytest.mark.parametrize("rows", [b"1", b"1\n2", b""])
def test_another_size_is_forbidden_and_leaves_nothing(account, storage, rows):
    url = account.announce("d", a=2)["a"]
    assert "for the 2 bytes of 'a.jsonl'" in refused(account.put(url, rows), 403, 7)
    assert shards_in(storage) == []
    assert account.put(url, b"1\n").status_code == 200


def test_every_word_of_a_url_is_signed(account):
    urls = account.announce("d", a=2, b=2)
    url = urls["a"]
    later = str(int(parse_qs(urlsplit(url).query)["expires"][0]) + 1)
    for other in (
        changed(url, size="3"),
        changed(url, expires=later),
        changed(url, signature="0" * 64),
        changed(url, signature="ä"),
        url.replace("/a.jsonl", "/b.jsonl"),
        url.replace("/accounts/ann/", "/accounts/bob/"),
    ):
        assert "was not signed for that" in refused(account.put(other, b"1\n"), 403, 7)
    for other in (changed(url, size="x"), changed(url, expires=""), url.partition("?")[0]):
        refused(account.put(other, b"1\n"), 403, 7)
    download = local(url).replace("/uploads/", "/files/")
    refused(account.who.http.get(download), 404, 5)
    refused(account.who.http.get(download.replace("/a.jsonl", "")), 403, 7)
    assert account.put(url, b"1\n").status_code == 200


def test_a_url_for_reading_is_not_one_for_writing(account):
    account.upload("d")
    [url] = account.get("datasets/d:getDownloadEndpoint").json["filenameToSignedUrls"].values()
    refused(account.who.http.put(local(url), data=b"x"), 405, 12)
    refused(account.fetch(changed(url, size="1")), 403, 7)
    with account.who.http.head(local(url)) as head:
        assert (head.status_code, head.content_length) == (200, len(ROWS))
    refused(account.fetch(url.replace("/accounts/ann/", "/accounts/bob/")), 403, 7)


def test_an_expired_url_is_forbidden(account, monkeypatch):
    monkeypatch.setattr(signed_urls, "LIFE_SECONDS", 0)
    url = account.announce("d", a=2)["a"]
    assert "has expired" in refused(account.put(url, b"1\n"), 403, 7)
    account.upload("d")
    [url] = account.get("datasets/d:getDownloadEndpoint").json["filenameToSignedUrls"].values()
    assert "has expired" in refused(account.fetch(url), 403, 7)


def test_a_url_is_good_for_an_hour(account):
    url = account.announce("d", a=2)["a"]
    assert 3590 < int(parse_qs(urlsplit(url).query)["expires"][0]) - time.time() <= 3600


@pytest.mark.parametrize(
    ("bounds", "status"), [("2,2", 200), ("0,2", 200), ("3,3", 403), ("0,1", 403), ("x", 400), ("1", 400)]
)
@pytest.mark.parametrize("size", [2, "string"])
def test_the_range_that_gateways_name_is_checked(account, bounds, status, size):
    url = account.announce("d", a=size)["a"]
    assert account.put(url, b"1\n", **{"x-goog-content-length-range": bounds}).status_code == status


def test_the_urls_are_at_the_host_that_was_asked(account):
    sizes = {"filenameToSize": {"a.jsonl": "1"}}
    headers = {**account.who.headers, "Host": "tuning.example:8443", "X-Forwarded-Proto": "https"}
    answer = account.who.http.post(account.url("datasets/d:getUploadEndpoint"), json=sizes, headers=headers)
    [url] = answer.json["filenameToSignedUrls"].values()
    assert url.startswith("https://tuning.example:8443/v1/accounts/ann/signed/uploads/")


def test_names_that_are_quoted_in_urls_come_through(account):
    answer = account.post("datasets/d:getUploadEndpoint", {"filenameToSize": {"ä b%2F?#.jsonl": 2}})
    [url] = answer.json["filenameToSignedUrls"].values()
    assert account.put(url, b"1\n").status_code == 200


def test_the_same_bytes_are_not_taken_without_end(account, monkeypatch):
    monkeypatch.setattr(uploads, "SPARE", 0)
    url = account.announce("d", a=2)["a"]
    assert [account.put(url, b"1\n").status_code for _ in range(3)] == [200, 200, 403]
    account.post("datasets/d:validateUpload")
    assert content(account) == b"1\n"


def test_shards_go_when_the_dataset_is_ready_deleted_or_given_up(account, storage):
    for number, end in enumerate((lambda: account.post("datasets/d0:validateUpload"), None, "late")):
        account.begin(f"d{number}")
        account.put(account.announce(f"d{number}", a=2)["a"], b"1\n")
        if end == "late":
            with transaction() as conn:
                conn.execute("update uploads set expires_at = now() - interval '3 hours' where status = 'pending'")
        elif end is None:
            assert account.delete(f"datasets/d{number}").json == {}
        else:
            assert end().status_code == 200
    clock.purge_uploads()
    assert shards_in(storage) == []
    assert "No rows" not in refused(account.post("datasets/d2:validateUpload"), 400, 9)
    assert account.get("datasets/d0").json["state"] == "READY"


def test_the_sweep_knows_a_shard_that_has_come(account):
    account.put(account.announce("d", a=2)["a"], b"1\n")
    [stored] = blobs().stored("uploads")
    with transaction() as conn:
        assert paths.needed(conn, {stored.key}) == {stored.key}


def test_a_url_that_was_signed_with_the_key_before_is_good_while_that_is_listed(account):
    url = account.announce("d", a=2)["a"]
    others = {name: os.environ[name.upper()] for name in ("database_url", "redis_url", "storage_url")}
    with settings(**others, secret_key="new"):
        refused(account.put(url, b"1\n"), 403, 7)
    with settings(**others, secret_key="new, a secret of the tests"):
        assert account.put(url, b"1\n").status_code == 200


def test_a_server_without_a_key_signs_nothing_and_names_the_setting(account):
    with settings(**{name: os.environ[name.upper()] for name in ("database_url", "redis_url", "storage_url")}):
        asked = account.post("datasets/d:getUploadEndpoint", {"filenameToSize": {"a.jsonl": 1}})
        assert "SECRET_KEY is missing" in refused(asked, 400, 9)
