"""Files whose sizes were not told: their URLs are for at most what the limit leaves, and as strict in all else."""

from urllib.parse import parse_qs, urlsplit

import pytest

from app.actions import arrivals
from tests.dialects.fireworks import Account, refused
from tests.dialects.test_fireworks_signed import account, announcing, changed, content

__all__ = ["account"]


@pytest.mark.parametrize("size", [0, "0", "", None, "string"])
def test_a_size_that_is_not_told_leaves_the_room_that_the_others_leave(account, size):
    urls = account.announce("d", a=size, b=2)
    assert parse_qs(urlsplit(urls["a"]).query)["most"] == [str((8 << 30) - 2)]
    assert "size" in parse_qs(urlsplit(urls["b"]).query)
    assert "of 1 to " in refused(account.put(urls["a"], b""), 403, 7)
    assert account.put(urls["a"], b"1\n2\n3\n").status_code == 200
    refused(account.put(urls["b"], b"4\n5\n"), 403, 7)
    account.put(urls["b"], b"4\n")
    account.post("datasets/d:validateUpload")
    assert content(account) == b"1\n2\n3\n4\n"


def test_a_url_without_a_size_is_for_no_more_than_it_says_and_for_no_other_file(account, storage, monkeypatch):
    monkeypatch.setattr(arrivals, "MEGABYTE", 1)
    with announcing(account, max_upload_mb="4"):
        urls = account.announce("d", a="string", b="string")
    assert account.put(urls["a"], b"1\n2\n").status_code == 200
    assert "of 1 to 4 bytes" in refused(account.put(urls["a"], b"1\n2\n3"), 403, 7)
    for other in (changed(urls["a"], most="5"), urls["a"].replace("most=", "size="), urls["a"].replace("/a.", "/b.")):
        assert "was not signed for that" in refused(account.put(other, b"1\n2\n3"), 403, 7)
    assert "larger than 4 MB" in sent_too_much(account, urls["b"])


def sent_too_much(account: Account, url: str) -> str:
    """What validation says once another file has come that is alone within the limit of both."""
    assert account.put(url, b"4\n5\n").status_code == 200
    with announcing(account, max_upload_mb="4"):
        return refused(account.post("datasets/d:validateUpload"), 413, 3)
