"""Uploads in parts: begun, sent in any order, completed or cancelled, and everything that is wrong with them."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.blobs import storage as storage_of
from app.store.db import transaction
from tests.dialects.conftest import ROWS, form, person, problem, stored
from workers import clock

CONTENT = ROWS * 3
PIECES = [CONTENT[:1000], CONTENT[1000:1001], CONTENT[1001:]]
WANTED = {"bytes": len(CONTENT), "filename": "t.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}


def begin(ann, **members) -> str:
    answer = ann.post("/v1/uploads", {**WANTED, **members})
    assert answer.status_code == 200, answer.text
    return str(answer.json["id"])


def send(ann, upload: str, piece: bytes):
    return ann.send_form(f"/v1/uploads/{upload}/parts", form(piece, "blob", part="data"))


def sent(ann, upload: str, *pieces: bytes) -> list[str]:
    return [send(ann, upload, piece).json["id"] for piece in pieces]


def complete(ann, upload: str, parts: list[str], **members):
    return ann.post(f"/v1/uploads/{upload}/complete", {"part_ids": parts, **members})


def keys() -> list[str]:
    """What lies in storage of parts, whole or not; the empty folder of an upload is no part."""
    return [found.key for found in storage_of().stored("uploads") if "part_" in found.key]


@pytest.fixture(autouse=True)
def no_parts(ann):
    for found in list(storage_of().stored("uploads")):
        storage_of().discard(found)


@pytest.fixture
def upload(ann) -> str:
    return begin(ann)


def test_an_upload_begins_pending_with_an_hours_time(ann):
    made = ann.post("/v1/uploads", WANTED).json
    assert made["status"] == "pending"
    assert made["expires_at"] - made["created_at"] == 3600
    assert {name: made[name] for name in ("bytes", "filename", "purpose")} == {
        "bytes": len(CONTENT),
        "filename": "t.jsonl",
        "purpose": "fine-tune",
    }
    assert made["file"] is None


def test_parts_that_came_in_any_order_make_the_file_in_the_order_of_the_completion(ann, upload):
    third, first, second = sent(ann, upload, PIECES[2], PIECES[0], PIECES[1])
    done = complete(ann, upload, [first, second, third]).json
    assert done["status"] == "completed"
    assert done["md5"] == hashlib.md5(CONTENT).hexdigest()
    file = done["file"]
    assert (file["bytes"], file["filename"], file["purpose"]) == (len(CONTENT), "t.jsonl", "fine-tune")
    assert ann.get(f"/v1/files/{file['id']}").json == file
    assert ann.get(f"/v1/files/{file['id']}/content").data == CONTENT
    assert ann.create(training_file=file["id"]).status_code == 200
    assert ann.get(f"/v1/accounts/ann/datasets/{file['id']}").json["exampleCount"] == "30"


def test_a_part_that_came_twice_may_be_left_out(ann, upload):
    first, _, second, third = sent(ann, upload, PIECES[0], PIECES[0], *PIECES[1:])
    assert complete(ann, upload, [first, second, third]).json["status"] == "completed"


def test_parts_may_come_side_by_side(ann):
    pieces = [bytes([number]) * 10_000 for number in range(24)]
    upload = begin(ann, bytes=240_000, purpose="assistants")
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda piece: send(ann, upload, piece).json["id"], pieces))
    file = complete(ann, upload, parts).json["file"]["id"]
    assert ann.get(f"/v1/files/{file}/content").data == b"".join(pieces)


@pytest.mark.parametrize(
    "spelled", [bytes.hex, lambda md5: md5.hex().upper(), lambda md5: base64.b64encode(md5).decode()]
)
def test_the_md5_of_the_file_is_accepted_in_hex_or_base64_and_another_one_refused(ann, upload, spelled):
    parts = sent(ann, upload, *PIECES)
    wrong = complete(ann, upload, parts, md5=spelled(hashlib.md5(b"other").digest()))
    assert problem(wrong, 400)["param"] == "md5"
    assert complete(ann, upload, parts, md5=spelled(hashlib.md5(CONTENT).digest())).json["status"] == "completed"


def test_a_completion_that_was_refused_leaves_no_file_behind(ann, upload, storage):
    before = stored(storage)
    complete(ann, upload, sent(ann, upload, *PIECES), md5="0" * 32)
    assert stored(storage) == before
    assert ann.get("/v1/files").json["data"] == []


def test_a_repeated_completion_returns_the_same_file(ann, upload):
    parts = sent(ann, upload, *PIECES)
    first = complete(ann, upload, parts).json
    clock.purge_uploads()
    assert complete(ann, upload, parts).json == first
    assert "completed" in problem(complete(ann, upload, parts[:1]), 400)["message"]
    assert len(ann.get("/v1/files").json["data"]) == 1


def test_completions_side_by_side_make_one_file(ann, upload, storage):
    parts, before = sent(ann, upload, *PIECES), stored(storage)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: complete(ann, upload, parts).json, range(4)))
    assert len({answer["file"]["id"] for answer in answers}) == 1
    assert len(stored(storage)) == len(before) + 1


@pytest.mark.parametrize(
    "named",
    [
        lambda parts: [*parts, "part_none"],
        lambda parts: [*parts, parts[0]],
        lambda parts: parts[:2],
        lambda parts: [],
        lambda parts: ["\0"],
        lambda parts: [1],
        lambda parts: "part",
        lambda parts: None,
    ],
    ids=["one is missing", "one is doubled", "too few bytes", "none", "a NUL", "a number", "text", "null"],
)
def test_parts_that_are_missing_or_doubled_or_do_not_add_up_are_refused(ann, upload, named):
    parts = sent(ann, upload, *PIECES)
    error = problem(complete(ann, upload, named(parts)), 400)
    assert error["param"].startswith("part_ids")
    assert complete(ann, upload, parts).json["status"] == "completed"


def test_more_bytes_than_were_announced_are_refused(ann, upload):
    parts = sent(ann, upload, *PIECES, b"x")
    assert f"{len(CONTENT) + 1} bytes" in problem(complete(ann, upload, parts), 400)["message"]


def test_a_part_of_another_upload_is_missing_here(ann, upload):
    [foreign] = sent(ann, begin(ann), CONTENT)
    assert foreign in problem(complete(ann, upload, [foreign]), 400)["message"]


def test_a_cancelled_upload_takes_nothing_more_and_its_parts_go(ann, upload):
    parts = sent(ann, upload, *PIECES)
    assert len(keys()) == 3
    cancelled = ann.post(f"/v1/uploads/{upload}/cancel").json
    assert cancelled["status"] == "cancelled"
    assert ann.post(f"/v1/uploads/{upload}/cancel").json == cancelled
    for answer in (send(ann, upload, b"x"), complete(ann, upload, parts)):
        assert "cancelled" in problem(answer, 400)["message"]
    clock.purge_uploads()
    assert keys() == []


def test_a_completed_upload_cannot_be_cancelled_and_takes_no_more_parts(ann, upload):
    complete(ann, upload, sent(ann, upload, *PIECES))
    for answer in (send(ann, upload, b"x"), ann.post(f"/v1/uploads/{upload}/cancel")):
        assert "completed" in problem(answer, 400)["message"]
    assert len(keys()) == 3
    clock.purge_uploads()
    assert keys() == []


def test_an_upload_that_is_not_completed_in_time_expires_and_its_parts_go(ann, upload):
    parts = sent(ann, upload, *PIECES)
    age(upload, hours=1)
    for answer in (
        send(ann, upload, b"x"),
        complete(ann, upload, parts),
        ann.post(f"/v1/uploads/{upload}/cancel"),
    ):
        assert "expired" in problem(answer, 400)["message"]
    clock.purge_uploads()
    assert len(keys()) == 3
    age(upload, hours=1)
    clock.purge_uploads()
    assert keys() == []


def age(upload: str, *, hours: int) -> None:
    with transaction() as conn:
        conn.execute(
            "update uploads set expires_at = expires_at - make_interval(hours => %s) where id = %s", (hours, upload)
        )


@pytest.mark.parametrize("piece", [b"", b"x" * (64 << 20 | 1)])
def test_a_part_that_is_empty_or_too_large_is_refused_and_leaves_nothing(ann, piece):
    upload = begin(ann, bytes=1 << 30, purpose="assistants")
    assert problem(send(ann, upload, piece), 413 if piece else 400)["param"] == "data"
    assert keys() == []


def test_far_more_bytes_than_announced_are_refused_as_they_come_and_leave_nothing(ann):
    upload = begin(ann, bytes=0, purpose="assistants")
    [_] = sent(ann, upload, b"x" * (40 << 20))
    assert problem(send(ann, upload, b"x" * (30 << 20)), 400)["param"] == "data"
    assert len(keys()) == 1


@pytest.mark.parametrize("part", ["file", "other"])
def test_a_form_without_data_is_refused(ann, upload, part):
    problem(ann.send_form(f"/v1/uploads/{upload}/parts", form(b"x", "a", part=part)), 400)
    problem(ann.post(f"/v1/uploads/{upload}/parts", {"data": "x"}), 400)
    assert keys() == []


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"bytes": -1}, "bytes"),
        ({"bytes": "9"}, "bytes"),
        ({"bytes": 1.5}, "bytes"),
        ({"bytes": None}, "bytes"),
        ({"purpose": "training"}, "purpose"),
        ({"purpose": 1}, "purpose"),
        ({"filename": ""}, "filename"),
        ({"filename": "t.csv"}, "filename"),
        ({"filename": "dir/"}, "filename"),
        ({"filename": "a\x07.jsonl"}, "filename"),
        ({"mime_type": None}, "mime_type"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
        ({"expires_after": {"seconds": 3600}}, "expires_after.anchor"),
        ({"expires_after": 3600}, "expires_after"),
    ],
)
def test_an_upload_that_makes_no_sense_is_refused(ann, members, param):
    assert problem(ann.post("/v1/uploads", {**WANTED, **members}), 400)["param"] == param


def test_an_upload_over_the_limit_is_refused_before_anything_is_sent(ann):
    assert "8192 MB" in problem(ann.post("/v1/uploads", {**WANTED, "bytes": (8 << 30) + 1}), 413)["message"]


def test_an_upload_may_be_larger_than_a_file_that_is_sent_at_once(ann):
    upload = begin(ann, bytes=3 << 20, purpose="assistants")
    parts = sent(ann, upload, b"x" * (2 << 20), b"y" * (1 << 20))
    assert complete(ann, upload, parts).json["file"]["bytes"] == 3 << 20


def test_a_key_that_may_only_read_uploads_nothing(app, ann, upload):
    reader = person(app, "ann", scopes=("read",))
    for answer in (
        reader.post("/v1/uploads", WANTED),
        send(reader, upload, b"x"),
        complete(reader, upload, ["part_x"]),
        reader.post(f"/v1/uploads/{upload}/cancel"),
    ):
        problem(answer, 403)


def test_parts_whose_bytes_storage_lost_are_an_error_that_may_be_tried_again(ann, upload):
    parts = sent(ann, upload, *PIECES)
    storage_of().delete(f"uploads/{upload}/{parts[1]}")
    assert problem(complete(ann, upload, parts), 503)["type"] == "server_error"
    assert ann.get("/v1/files").json["data"] == []
