"""Files: what is taken, what is refused, what is given back."""

import base64
import io
from datetime import UTC, datetime

import pytest

from app import blobs
from app.core import names
from app.core.job import File
from app.store import files
from app.store.db import transaction
from tests.dialects.conftest import ROWS, problem, stored


def result_file(ann, content: bytes, name: str) -> str:
    """A file as a worker makes it."""
    file_id = names.file_id()
    path = f"jobs/x/{file_id}"
    writer = blobs.storage().put(path, content)
    made = File(
        id=file_id,
        project_id=ann.project,
        filename=name,
        purpose="fine-tune-results",
        bytes=writer.size,
        sha256=writer.sha256,
        path=path,
        created_at=datetime.now(UTC),
    )
    with transaction() as conn:
        return files.insert(conn, made).id


def form(ann, **parts):
    return ann.http.post("/v1/files", data=parts, headers=ann.headers, content_type="multipart/form-data")


def test_an_uploaded_file_is_described_and_given_back_byte_for_byte(ann):
    content = bytes(range(256)) * 5000
    made = ann.upload(content, purpose="assistants", name="any.bin").json
    assert made["object"] == "file"
    assert made["bytes"] == len(content)
    assert made["filename"] == "any.bin"
    assert made["purpose"] == "assistants"
    assert made["status"] == "processed"
    assert made["status_details"] is None
    assert ann.get(f"/v1/files/{made['id']}").json == made
    answer = ann.get(f"/v1/files/{made['id']}/content")
    assert answer.data == content
    assert int(answer.headers["Content-Length"]) == len(content)
    assert "any.bin" in answer.headers["Content-Disposition"]


def test_content_that_looks_like_the_forms_own_boundary_survives(ann):
    content = b"\r\n--boundary\r\n--\r\n\r\n----" * 20_000
    made = ann.upload(content, purpose="assistants", name="odd.txt").json
    assert ann.get(f"/v1/files/{made['id']}/content").data == content


def test_a_purpose_may_come_after_the_file(ann):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="t.jsonl"\r\n\r\n' + ROWS + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b--\r\n'
    )
    kind = "multipart/form-data; boundary=b"
    answer = ann.http.post("/v1/files", data=body, content_type=kind, headers=ann.headers)
    assert answer.json["bytes"] == len(ROWS)
    assert answer.json["purpose"] == "fine-tune"


@pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"])
def test_every_documented_purpose_is_taken(ann, purpose):
    assert ann.upload(purpose=purpose).json["purpose"] == purpose


@pytest.mark.parametrize("purpose", ["", "training", "fine-tune-results", "Fine-Tune", "x" * 1000])
def test_another_purpose_is_refused(ann, purpose):
    assert problem(ann.upload(purpose=purpose), 400)["param"] == "purpose"


@pytest.mark.parametrize("purpose", ["fine-tune", "assistants"])
def test_an_empty_file_is_refused(ann, purpose, storage):
    before = stored(storage)
    assert "empty" in problem(ann.upload(b"", purpose=purpose), 400)["message"]
    assert stored(storage) == before


@pytest.mark.parametrize("name", ["train.json", "train.csv", "train", "jsonl"])
def test_training_data_that_is_not_named_jsonl_is_refused(ann, name):
    assert ".jsonl" in problem(ann.upload(name=name), 400)["message"]


def test_training_data_is_not_parsed_at_the_door(ann):
    assert ann.upload(b"this is no json\xff").status_code == 200


@pytest.mark.parametrize("name", ["../../etc/train.jsonl", "C:\\\\data\\\\train.jsonl", "/abs/train.jsonl"])
def test_of_a_path_only_the_name_is_kept(ann, name):
    assert ann.upload(name=name).json["filename"] == "train.jsonl"


@pytest.mark.parametrize("name", ["x" * 250 + ".jsonl", "a\x07.jsonl", "a\x7f.jsonl", "dir/"])
def test_a_name_that_cannot_be_shown_is_refused(ann, name):
    assert problem(ann.upload(name=name), 400)["param"] == "file"


def test_a_nul_in_a_filename_or_field_is_refused(ann):
    parts = (b'name="file"; filename="a\0.jsonl"', b"x"), (b'name="purpose"', b"fine-tune\0")
    for disposition, value in parts:
        body = b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + value + b"\r\n--b--\r\n"
        kind = "multipart/form-data; boundary=b"
        problem(ann.http.post("/v1/files", data=body, content_type=kind, headers=ann.headers), 400)


def test_a_form_without_a_file_or_with_two_is_refused(ann, storage):
    before = stored(storage)
    file = (io.BytesIO(ROWS), "a.jsonl")
    problem(form(ann, purpose="fine-tune"), 400)
    problem(form(ann, purpose="fine-tune", file="not a file"), 400)
    problem(form(ann, purpose="fine-tune", other=file), 400)
    problem(form(ann, purpose="fine-tune", file=[(io.BytesIO(b"1"), "a.jsonl"), (io.BytesIO(b"2"), "b.jsonl")]), 400)
    problem(form(ann, file=(io.BytesIO(ROWS), "a.jsonl")), 400)
    assert stored(storage) == before


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (ROWS, "application/octet-stream"),
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\nno disposition\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
            "multipart/form-data; boundary=b",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--\xc3\xa4\r\n", "multipart/form-data; boundary=\xe4"),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_a_form_that_is_broken_is_refused(ann, body, kind, storage):
    before = stored(storage)
    problem(ann.http.post("/v1/files", data=body, content_type=kind, headers=ann.headers), 400)
    assert stored(storage) == before


def test_a_form_with_endless_headers_or_fields_is_refused(ann):
    kind = "multipart/form-data; boundary=b"
    for body in (
        b"--b\r\nX: " + b"x" * 2_000_000,
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + b"x" * 1_000_000 + b"\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 100 + b"--b--\r\n",
    ):
        problem(ann.http.post("/v1/files", data=body, content_type=kind, headers=ann.headers), 413)


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(ann, storage):
    before = stored(storage)
    assert "2 MB" in problem(ann.upload(b"x" * (2 << 20 | 1), purpose="assistants"), 413)["message"]
    assert "2 MB" in problem(ann.upload(b"x" * (8 << 20), purpose="assistants"), 413)["message"]
    assert stored(storage) == before


def test_a_file_at_the_limit_is_taken(ann):
    assert ann.upload(b"x" * (2 << 20), purpose="assistants").json["bytes"] == 2 << 20


def test_a_deleted_file_is_gone_at_once(ann):
    file = ann.file()
    assert ann.delete(f"/v1/files/{file}").json == {"id": file, "object": "file", "deleted": True}
    for answer in (ann.get(f"/v1/files/{file}"), ann.get(f"/v1/files/{file}/content"), ann.delete(f"/v1/files/{file}")):
        assert problem(answer, 404)["param"] == "id"
    assert ann.get("/v1/files").json["data"] == []


def test_files_are_listed_newest_first_or_oldest_first_page_by_page(ann):
    made = [ann.file() for _ in range(3)]
    listed = ann.get("/v1/files").json
    assert [file["id"] for file in listed["data"]] == made[::-1]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (made[2], made[0], False)
    first = ann.get("/v1/files", order="asc", limit=2).json
    assert [file["id"] for file in first["data"]] == made[:2]
    assert first["has_more"] is True
    assert [file["id"] for file in ann.get("/v1/files", order="asc", after=made[1]).json["data"]] == made[2:]


def test_an_empty_list_has_no_ends(ann):
    assert ann.get("/v1/files").json == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


def test_files_are_filtered_by_purpose_and_an_unknown_one_finds_none(ann):
    ann.file()
    batch = ann.file(purpose="batch")
    assert [file["id"] for file in ann.get("/v1/files", purpose="batch").json["data"]] == [batch]
    assert ann.get("/v1/files", purpose="purpose").json["data"] == []


def test_an_unknown_order_is_refused(ann):
    assert problem(ann.get("/v1/files", order="up"), 400)["param"] == "order"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, 3 << 18, (3 << 18) + 1])
def test_the_csv_of_results_comes_as_base64_unless_it_is_asked_for_plain(ann, size):
    content = b"step,train_loss\n" + b"1" * size
    url = f"/v1/files/{result_file(ann, content, 'step_metrics.csv')}/content"
    encoded = ann.get(url)
    assert base64.b64decode(encoded.data, validate=True) == content
    assert int(encoded.headers["Content-Length"]) == len(encoded.data)
    assert ann.get(url, encoding="plain").data == content


def test_other_results_are_always_plain(ann):
    file = result_file(ann, b"{}", "report.json")
    assert ann.get(f"/v1/files/{file}/content").data == b"{}"
    assert ann.get(f"/v1/files/{file}/content", encoding="base64").data == b"{}"


def test_an_uploaded_csv_is_plain(ann):
    file = ann.file(b"a,b\n", purpose="assistants", name="x.csv")
    assert ann.get(f"/v1/files/{file}/content").data == b"a,b\n"


def test_content_that_storage_lost_is_an_error_that_may_be_tried_again(ann, storage):
    file = ann.file()
    (storage / "files" / file).unlink()
    assert problem(ann.get(f"/v1/files/{file}/content"), 503)["type"] == "server_error"


def test_storage_that_cannot_be_written_is_an_error_that_may_be_tried_again(ann, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.blobs.directory.os.fsync", full)
    answer = ann.upload()
    assert problem(answer, 503)["type"] == "server_error"
    assert answer.headers["Retry-After"]
    assert ann.get("/v1/files").json["data"] == []
