"""Bad files fail the job in words, odd rows are warned of, and a deleted file is still there for its job."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.config import settings
from app.core.errors import JobFailed
from app.core.job import Job
from app.core.states import Status
from app.store import files, jobs
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import PROJECT, now
from tests.workers.stages.samples import ROWS, VALID, content, created, told
from workers import clock, validation

pytestmark = pytest.mark.slow


def failed(job: Job) -> dict[str, Any]:
    with pytest.raises(JobFailed):
        validation.validate(job.id)
    ended = now(job)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    return ended.error


def test_nine_examples_are_refused_in_openais_words(key_id):
    assert failed(created(key_id, ROWS[:9])) == {
        "code": "invalid_n_examples",
        "message": "Training file has 9 example(s), but must have at least 10 examples",
        "param": "training_file",
    }


QUESTION, ANSWER = {"role": "user", "content": "late"}, {"role": "assistant", "content": "refund"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
BROKEN_LINES = {
    "broken JSON": b'{"messages": [}',
    "a byte that is not UTF-8": json.dumps({"messages": [QUESTION, ANSWER]}).encode().replace(b"late", b"lat\xe9"),
    "a wrong role": json.dumps({"messages": [{"role": "customer", "content": "a"}, ANSWER]}).encode(),
    "no assistant turn": json.dumps({"messages": [QUESTION]}).encode(),
    "an image part": json.dumps({"messages": [{"role": "user", "content": [PICTURE]}, ANSWER]}).encode(),
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_broken_line_is_named_and_the_report_is_kept(key_id, line):
    rows = [json.dumps(row).encode() for row in ROWS]
    rows[16] = line
    job = created(key_id, b"\n".join(rows))
    error = failed(job)
    assert (error["code"], error["param"]) == ("invalid_training_file", "training_file")
    assert "line 17" in error["message"].lower()
    report = json.loads(content(job, "report_file"))
    assert [finding["line"] for finding in report["files"][0]["findings"]] == [17]


def test_cut_rows_are_a_warning_with_line_numbers(key_id):
    long = {"messages": [{"role": "user", "content": "late " * 200}, {"role": "assistant", "content": "refund"}]}
    job = created(key_id, [*ROWS, long])
    validation.validate(job.id)
    assert now(job).status is Status.QUEUED
    assert any("line 25" in warning for warning in told(job, level="warn"))


def test_training_rows_in_the_validation_file_are_a_warning(key_id):
    job = created(key_id, ROWS, [*VALID, ROWS[3]])
    validation.validate(job.id)
    assert any("training file too" in warning for warning in told(job, level="warn"))


def test_a_file_that_was_deleted_after_creation_is_still_trained_on(key_id):
    job = created(key_id, ROWS)
    with transaction() as conn:
        files.delete(conn, PROJECT, job.spec["training_file"])
    clock.purge()
    validation.validate(job.id)
    assert now(job).status is Status.QUEUED


LONG_FILE_MB = 64  # takes seconds to check


def long_job(key_id: str) -> Job:
    """A job whose training file is long, and ends in a line that would fail it."""
    block = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    return created(key_id, block * (LONG_FILE_MB * 1_000_000 // len(block)) + b"nonsense")


def terminate(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def cancel(job: Job) -> None:
    with transaction() as conn:
        jobs.request_cancel(conn, PROJECT, job.id)


def is_read(job: Job) -> bool:
    """Whether the long file lies whole in the job's directory, so that its lines are being checked."""
    found = Path(settings().work_dir).glob(f"{job.id}.*/train.jsonl")
    return any(path.stat().st_size > (LONG_FILE_MB - 1) * 1_000_000 for path in found)


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Threads that take turns more often: the one that checks lines lets go of the interpreter only when it must."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize(("order", "left_as"), [(terminate, "validating_files"), (cancel, "cancelled")])
def test_an_order_to_stop_is_obeyed_inside_a_long_file(key_id, order: Callable[[Job], None], left_as):
    job = long_job(key_id)

    def give_the_order() -> None:
        eventually(lambda: is_read(job))
        order(job)

    with ThreadPoolExecutor(1) as elsewhere:
        ordered = elsewhere.submit(give_the_order)
        validation.validate(job.id)
        ordered.result()
    left = now(job)
    assert (left.status, left.lease_owner, left.crashes, left.error) == (left_as, None, 0, None)
    assert not any(message.startswith("Checked") for message in told(job))
