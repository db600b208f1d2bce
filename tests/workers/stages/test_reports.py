"""Reports made by the real tokenizer's process: what validation would say, without a job."""

import json
import subprocess
import sys
from datetime import datetime

import pytest

from app.core import names
from app.core.job import DataReport
from app.store import reports
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import PROJECT
from tests.trainer.conftest import chat
from tests.workers.stages.samples import ROWS, VALID, content, created, uploaded
from workers import reports as making
from workers import validation
from workers.supervision import Stopped

pytestmark = pytest.mark.slow

MANY = 50_000
MEGABYTE = 1 << 20


def asked(**spec: object) -> DataReport:
    wanted = {"validation_file": None, "base": "tiny", "method": "supervised", "hyperparameters": {}, **spec}
    with transaction() as conn:
        return reports.ask(conn, names.file_id(), project_id=PROJECT, spec=wanted)


def made(report: DataReport) -> dict:
    making.make(report.id)
    with transaction() as conn:
        found = reports.ask(conn, report.id, project_id=PROJECT, spec={}).content
    assert found is not None
    return found


def lease_until(report: DataReport) -> datetime:
    with transaction() as conn:
        [row] = conn.execute("select lease_until from reports where id = %s", (report.id,))
    found: datetime = row["lease_until"]
    return found


def test_a_report_says_what_the_validation_of_a_job_says(key_id):
    job = created(key_id, ROWS, [*VALID, ROWS[3]])
    validation.validate(job.id)
    of_job = json.loads(content(job, "report_file"))["files"]
    found = made(asked(training_file=job.spec["training_file"], validation_file=job.spec["validation_file"]))
    assert [{name: value for name, value in file.items() if name != "cut_rows"} for file in found["files"]] == of_job
    assert found["error"] is None


def test_cut_rows_are_counted_with_the_length_that_was_asked_for(key_id):
    file = uploaded(ROWS)
    whole = made(asked(training_file=file))["files"][0]
    short = made(asked(training_file=file, hyperparameters={"max_length": 8}))["files"][0]
    assert (whole["cut_rows"], short["cut_rows"]) == (0, 24)
    assert short["tokens"] < whole["tokens"]


def test_without_a_model_rows_are_checked_and_no_tokens_counted(key_id):
    found = made(asked(training_file=uploaded(ROWS), base=None))["files"][0]
    assert found["rows"] == 24
    assert "tokens" not in found


def test_a_file_that_is_gone_is_the_error_of_the_report(key_id):
    assert made(asked(training_file="file-none"))["error"]["code"] == "file_not_found"


def test_a_report_that_is_made_is_not_made_again(key_id):
    report = asked(training_file=uploaded(ROWS))
    before = made(report)
    making.make(report.id)
    assert made(report) == before


def test_a_worker_that_shuts_down_gives_the_report_to_the_next(key_id, monkeypatch):
    report = asked(training_file=uploaded(ROWS))
    monkeypatch.setattr(making.shutting_down, "value", 1)
    making.make(report.id)
    monkeypatch.setattr(making.shutting_down, "value", 0)
    assert made(report)["error"] is None


def test_a_lease_is_kept_while_a_worker_is_busy_and_lost_to_another(key_id):
    report = asked(training_file="file-none")
    with transaction() as conn:
        held = reports.claim(conn, report.id, lease_seconds=0.1)
    assert held is not None
    first = lease_until(report)
    with making.Turn(held, lease_seconds=0.1) as turn:
        eventually(lambda: lease_until(report) > first)
        turn.go_on()
        with transaction() as conn:
            conn.execute("update reports set attempt = attempt + 1 where id = %s", (report.id,))
        with pytest.raises(Stopped):
            eventually(turn.go_on)


def test_one_wrong_row_among_many_is_named_in_bounded_memory(key_id):
    padding = " and".join(f" word{number}" for number in range(90))
    lines = [json.dumps({**chat(place), "messages": [*chat(place)["messages"]]}) for place in range(10)]
    row = json.dumps({"messages": [{"role": "user", "content": padding}, {"role": "assistant", "content": "refund"}]})
    many = [*lines, *(row.replace("word7", f"word{number}") for number in range(MANY - 10))]
    many[MANY - 2] = '{"messages": [}'
    file = uploaded("\n".join(many).encode())
    assert sum(map(len, many)) > 40 * MEGABYTE
    report = asked(training_file=file)
    code = (
        "import resource, sys; from workers import reports; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; reports.make(sys.argv[1]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    told = subprocess.run([sys.executable, "-c", code, report.id], capture_output=True, text=True, check=True)
    found = made(report)
    assert [finding["line"] for finding in found["files"][0]["findings"]] == [MANY - 1]
    assert int(told.stdout) * 1024 < 200 * MEGABYTE
