"""Files that expire: at their time for everybody, and in storage when no job needs them any more."""

import pytest

from app.core.states import Outcome
from app.store.db import transaction
from tests.dialects.conftest import JOBS, ROWS, problem, stored
from tests.dialects.test_upload_parts import begin, complete, sent
from tests.store.conftest import claimed, finished
from workers import clock

HOUR = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}


def expired(file: str) -> None:
    with transaction() as conn:
        conn.execute("update files set expires_at = clock_timestamp() where id = %s", (file,))


@pytest.mark.parametrize("seconds", [3600, 2_592_000])
def test_a_file_says_when_it_expires(ann, seconds):
    made = ann.upload(**{**HOUR, "expires_after[seconds]": str(seconds)}).json
    assert made["expires_at"] - made["created_at"] == seconds
    assert ann.get(f"/v1/files/{made['id']}").json == made
    assert ann.upload().json["expires_at"] is None


def test_a_file_that_came_in_parts_lives_from_its_completion_on(ann):
    wanted = {"anchor": "created_at", "seconds": 7200}
    upload = begin(ann, bytes=len(ROWS), expires_after=wanted)
    file = complete(ann, upload, sent(ann, upload, ROWS)).json["file"]
    assert file["expires_at"] - file["created_at"] == 7200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({**HOUR, "expires_after[anchor]": "last_active_at"}, "expires_after.anchor"),
        ({**HOUR, "expires_after[seconds]": "3599"}, "expires_after.seconds"),
        ({**HOUR, "expires_after[seconds]": "2592001"}, "expires_after.seconds"),
        ({**HOUR, "expires_after[seconds]": "-3600"}, "expires_after.seconds"),
        ({**HOUR, "expires_after[seconds]": "an hour"}, "expires_after.seconds"),
        ({**HOUR, "expires_after[seconds]": "9" * 40}, "expires_after.seconds"),
        ({**HOUR, "expires_after[days]": "1"}, "expires_after.days"),
        ({"expires_after": "3600"}, "expires_after"),
    ],
)
def test_an_expiry_that_makes_no_sense_is_refused_and_leaves_nothing(ann, storage, fields, param):
    before = stored(storage)
    assert str(problem(ann.upload(**fields), 400)["param"]).startswith(param)
    assert stored(storage) == before


def test_a_file_is_gone_at_the_moment_it_expires_though_no_clock_ran(ann):
    file = ann.upload(**HOUR).json["id"]
    expired(file)
    for answer in (ann.get(f"/v1/files/{file}"), ann.get(f"/v1/files/{file}/content"), ann.delete(f"/v1/files/{file}")):
        problem(answer, 404)
    assert ann.get("/v1/files").json["data"] == []
    assert problem(ann.create(training_file=file), 400)["param"] == "training_file"


def test_the_clock_removes_what_has_expired_and_nothing_else(ann, storage):
    kept, alive, gone = ann.file(), ann.upload(**HOUR).json["id"], ann.upload(**HOUR).json["id"]
    expired(gone)
    clock.purge()
    assert {path.name for path in stored(storage)} & {kept, alive, gone} == {kept, alive}
    assert [file["id"] for file in ann.get("/v1/files").json["data"]] == [alive, kept]


def test_an_unfinished_job_keeps_the_bytes_of_a_file_that_has_expired(ann, storage):
    file = ann.upload(**HOUR).json["id"]
    job = ann.row(ann.job(training_file=file)["id"])
    expired(file)
    clock.purge()
    assert (storage / "files" / file).read_bytes() == ROWS
    assert ann.get(f"{JOBS}/{job.id}").json["training_file"] == file
    finished(claimed(job), Outcome.FAILED, error={"message": "no"})
    clock.purge()
    assert not (storage / "files" / file).exists()
