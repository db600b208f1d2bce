"""Datasets by the Fireworks dialect: ids of one's own, rows in one request, and the same files through every door."""

import pytest

from app.core.errors import Unknown
from app.store import files
from app.store.db import transaction
from tests.dialects.conftest import JOBS, ROWS, form, person
from tests.dialects.fireworks import OK, Account, refused

DATASETS = "datasets"


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


@pytest.fixture
def other(bob) -> Account:
    return Account(bob)


def test_a_new_dataset_is_shown_as_it_was_described(account):
    made = account.create("tickets-1", displayName="Tickets", format="CHAT", userUploaded={}).json
    times = {name: made.pop(name) for name in ("createTime", "updateTime")}
    assert made == {
        "name": "accounts/ann/datasets/tickets-1",
        "displayName": "Tickets",
        "createdBy": account.who.key_id,
        "state": "UPLOADING",
        "status": {"code": "OK", "message": "Its rows have not come yet."},
        "format": "CHAT",
        "userUploaded": {},
    }
    assert all(time.endswith("Z") and "T" in time for time in times.values())
    assert account.get("datasets/tickets-1").json == {**made, **times}


def test_what_nothing_here_uses_is_kept_out_and_named(account):
    body = {
        "datasetId": "d",
        "sourceDatasetId": "s",
        "dataset": {"externalUrl": "http://x", "exampleCount": "7", "evalProtocol": {}, "weird": 1, "displayName": ""},
    }
    made = account.post("datasets", body).json
    assert made["status"]["message"].endswith("Not used here: exampleCount, externalUrl, weird, sourceDatasetId.")
    assert "exampleCount" not in made


def test_null_means_unset(account):
    assert account.begin("d", displayName=None, format=None) == "d"
    assert account.patch("datasets/d", {"displayName": None}).status_code == 200


def test_an_id_has_letters_digits_hyphens_and_underscores(account):
    for name in ("a", "dataset_id", "datasetId", "A-1", "9e107d9d-372b-4bb6-826d-81d3542a419d", "x" * 63):
        assert account.create(name).status_code == 200, name


def test_an_id_has_nothing_else_and_is_not_like_ours(account):
    for name in ("", "-a", "_a", "a b", "a/b", "a:b", "ä", "a.b", "x" * 64, "file-1", "ftjob-1"):
        assert "cannot be" in refused(account.create(name), 400, 3)


def test_an_id_is_taken_once_per_project(account, other):
    account.begin("d")
    again = account.create("d")
    assert "There is a dataset 'd' already" in refused(again, 409, 6)
    assert again.headers["x-should-retry"] == "false"
    assert other.create("d").status_code == 200


@pytest.mark.parametrize("end", ["here", "at the other door"])
def test_the_id_of_a_deleted_dataset_can_be_chosen_again(account, end):
    account.ready("d")
    [file] = account.who.get("/v1/files").json["data"]
    gone = account.delete("datasets/d") if end == "here" else account.who.delete(f"/v1/files/{file['id']}")
    assert gone.status_code == 200
    refused(account.get("datasets/d"), 404, 5)
    assert account.get(DATASETS).json == {"datasets": [], "nextPageToken": "", "totalSize": 0}
    assert account.create("d").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"datasetId": "d"},
        {"dataset": {}},
        {"datasetId": 7, "dataset": {}},
        {"datasetId": "d", "dataset": []},
        {"datasetId": "d", "dataset": {"displayName": 7}},
        {"datasetId": "d", "dataset": {"format": "XML"}},
        {"datasetId": "d", "dataset": {"displayName": "x" * 257}},
    ],
)
def test_a_body_that_describes_no_dataset_is_refused(account, body):
    refused(account.post("datasets", body), 400, 3)


def test_rows_sent_at_once_make_it_ready_and_a_file_of_the_other_door(account):
    account.begin("d")
    sent = account.upload("d", ROWS).json
    assert sent.pop("created_at") > 1_700_000_000
    assert sent == {
        "id": "d", "object": "file", "bytes": len(ROWS), "filename": "train.jsonl", "purpose": "fine-tune",
    }  # fmt: skip
    shown = account.get("datasets/d").json
    assert (shown["state"], shown["status"], shown["exampleCount"]) == ("READY", OK, "10")
    [file] = account.who.get("/v1/files").json["data"]
    assert (file["filename"], file["bytes"]) == ("train.jsonl", len(ROWS))
    assert account.who.get(f"/v1/files/{file['id']}/content").data == ROWS
    assert account.who.post(JOBS, {"model": "tiny/base", "training_file": file["id"]}).status_code == 200


@pytest.mark.parametrize(
    ("content", "count"),
    [(b"{}", "1"), (b"{}\n", "1"), (b"\n{}\r\n\r\n  \n{}", "2"), (b"{}\n" * 200_000, "200000"), (b"\n", "0")],
)
def test_rows_are_lines_that_are_not_blank(account, content, count):
    account.ready("d", content)
    assert account.get("datasets/d").json["exampleCount"] == count


def test_a_name_that_no_training_file_has_is_replaced(account):
    account.begin("d")
    assert account.upload("d", name="upload").json["filename"] == "d.jsonl"


def test_a_form_without_a_file_changes_nothing_and_says_so(account):
    account.begin("d")
    answer = account.send_form("datasets/d:upload", b"--b0undary--\r\n").json
    assert (answer["bytes"], answer["filename"]) == (0, "")
    assert account.get("datasets/d").json["state"] == "UPLOADING"


def test_rows_of_a_ready_dataset_do_not_change(account):
    account.ready("d")
    assert "is READY" in refused(account.upload("d", b"{}"), 400, 9)
    url = account.post("datasets/d:getUploadEndpoint", {"filenameToSize": {"a.jsonl": 1}})
    assert "is READY" in refused(url, 400, 9)
    assert account.get("datasets/d").json["exampleCount"] == "10"


def test_an_empty_file_and_one_that_is_too_large_leave_it_as_it_was(account):
    account.begin("d")
    assert refused(account.upload("d", b""), 400, 3) == "The file is empty."
    assert "larger than 2 MB" in refused(account.upload("d", b" " * (2 << 20) + b"{}"), 413, 3)
    assert account.get("datasets/d").json["state"] == "UPLOADING"
    assert account.upload("d").status_code == 200


def test_a_training_file_of_the_other_door_is_a_dataset_under_its_own_id(account):
    file = account.who.file()
    account.who.file(b"x", name="notes.txt", purpose="user_data")
    [listed] = account.get(DATASETS).json["datasets"]
    assert (listed["name"], listed["displayName"]) == (f"accounts/ann/datasets/{file}", "train.jsonl")
    assert (listed["state"], listed["exampleCount"]) == ("READY", "10")
    assert listed["createTime"] == listed["updateTime"]
    assert account.patch(f"datasets/{file}", {"displayName": "Mine"}).json["displayName"] == "Mine"
    assert account.get(f"datasets/{file}").json["createTime"] == listed["createTime"]
    assert account.delete(f"datasets/{file}").json == {}
    assert account.who.get(f"/v1/files/{file}").status_code == 404


def test_only_the_display_name_changes(account):
    account.begin("d", displayName="One")
    changed = account.patch("datasets/d", {"displayName": "Two", "format": "CHAT", "externalUrl": "http://x"}).json
    assert changed["displayName"] == "Two"
    assert changed["status"]["message"].endswith("Not used here: externalUrl, format.")
    assert "format" not in changed
    assert account.patch("datasets/d", {"displayName": ""}).json["displayName"] == "Two"


def test_a_job_keeps_the_rows_of_a_dataset_that_was_deleted(account):
    account.ready("d")
    [file] = account.who.get("/v1/files").json["data"]
    job = account.who.post(JOBS, {"model": "tiny/base", "training_file": file["id"]}).json
    assert account.delete("datasets/d").json == {}
    with transaction() as conn:
        assert files.of_job(conn, job["training_file"]) is not None
        assert files.purgeable(conn) == []
        with pytest.raises(Unknown):
            files.get(conn, "ann", job["training_file"])


def test_a_ready_dataset_is_downloaded_by_a_url_without_a_key(account):
    account.begin("d")
    assert account.get("datasets/d:getDownloadEndpoint").json == {"filenameToSignedUrls": {}}
    account.upload("d", ROWS)
    [(name, url)] = account.get("datasets/d:getDownloadEndpoint").json["filenameToSignedUrls"].items()
    assert name == "train.jsonl"
    got = account.fetch(url)
    assert (got.status_code, got.data) == (200, ROWS)
    account.delete("datasets/d")
    refused(account.fetch(url), 404, 5)


def test_a_key_needs_the_scope(app, account):
    reader = Account(person(app, "ann", scopes=("read",)))
    assert reader.get(DATASETS).status_code == 200
    refused(reader.create("d"), 403, 7)
    account.begin("d")
    for verb in ("upload", "validateUpload"):
        refused(reader.send_form("datasets/d:upload", form(ROWS, "a.jsonl")) if verb == "upload" else reader.post(
            f"datasets/d:{verb}"), 403, 7)  # fmt: skip
    refused(reader.delete("datasets/d"), 403, 7)
