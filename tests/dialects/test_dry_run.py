"""A dry run and a file's report over HTTP: what is refused, what is told, and that nothing is created."""

import json
from typing import Any

import pytest

from app import config, queue
from app.core.job import DataReport
from app.core.states import Outcome
from app.dialects.openai.dry_run import DryRunSchema, FileReportSchema
from app.store import reports
from app.store.db import transaction
from tests.dialects.conftest import JOBS, Person, problem
from tests.store.conftest import claimed, finished, queued

COUNTED = {"rows": 100, "tokens": 5000, "trained_tokens": 1200, "longest": 90, "cut_rows": 2}
WARNINGS = [{"code": "row_cut", "message": "cut", "lines": [7, 9], "count": 2}]
NO_EXAMPLES = {"code": "invalid_n_examples", "message": "Training file has 9 example(s)", "param": "training_file"}


@pytest.fixture(autouse=True)
def forgotten(app):
    with transaction() as conn:
        conn.execute("truncate reports")
    queue._redis().delete(config.settings().redis_prefix + "trainers")


def pending() -> DataReport:
    """The one report that waits, as a worker takes it."""
    with transaction() as conn:
        [row] = conn.execute("select id from reports where content is null").fetchall()
        held = reports.claim(conn, row["id"], lease_seconds=60)
    assert held is not None
    return held


def answer(error: dict[str, str] | None = None, **counted: int) -> None:
    held = pending()
    file = {"id": held.spec["training_file"], "warnings": WARNINGS, "error": error, **counted}
    with transaction() as conn:
        reports.finish(conn, held, {"files": [file], "error": error})


def dry(who: Person, file: str, **members: Any) -> dict[str, Any]:
    got = who.create(training_file=file, dry_run=True, **members)
    assert got.status_code == 200, got.text
    told: dict[str, Any] = got.get_json()
    assert set(told) == {field.data_key or name for name, field in DryRunSchema().fields.items()}
    return told


def messages() -> list[dict[str, Any]]:
    prefix = config.settings().redis_prefix
    return [json.loads(text)["headers"] for text in queue._redis().lrange(f"{prefix}validate", 0, -1)]


def succeeded(who: Person, *, tokens: int, seconds: float, memory_bytes: int) -> None:
    made = {"hyperparameters": {"training_type": "lora"}, "trained_tokens": tokens}
    job = finished(claimed(queued(who.row(who.job()["id"]))), Outcome.DONE, result=made)
    job = finished(claimed(job), Outcome.DONE, progress={"memory_bytes": memory_bytes})
    with transaction() as conn:
        conn.execute("update jobs set active_seconds = %s where id = %s", (seconds, job.id))


def test_a_dry_run_creates_no_job_and_asks_a_worker_for_the_report_once(ann):
    file = ann.file()
    told = dry(ann, file, suffix="x", metadata={"a": "b"}, trainingType=1)
    assert (told["user_provided_suffix"], told["metadata"], told["ignored_keys"]) == ("x", {"a": "b"}, ["trainingType"])
    assert (told["report"], told["retry_after"], told["error"]) == (None, 2, None)
    assert (told["tokens"], told["total_steps"], told["duration_seconds"]) == (None, None, None)
    assert told["hyperparameters"]["n_epochs"] == "auto"
    dry(ann, file)
    assert ann.get(JOBS).get_json()["data"] == []
    assert len([found for found in messages() if found["task"] == "report"]) == 1


def test_a_dry_run_tells_what_the_job_would_be_once_the_report_is_there(ann):
    file = ann.file()
    dry(ann, file)
    answer(**COUNTED)
    told = dry(ann, file, hyperparameters={"n_epochs": 3, "batch_size": 8})
    assert told["report"]["files"][0]["warnings"] == WARNINGS
    assert told["retry_after"] is None
    assert (told["rows"], told["tokens"], told["trained_tokens"], told["cut_rows"]) == (100, 5000, 1200, 2)
    assert (told["billable_tokens"], told["total_steps"]) == (15_000, 39)
    assert told["hyperparameters"]["n_epochs"] == 3
    assert told["hyperparameters"]["learning_rate"] == 1e-3
    assert told["duration_seconds"] is None
    assert told["cost"] is None


def test_another_max_length_is_another_report_and_other_hyperparameters_are_not(ann):
    file = ann.file()
    dry(ann, file)
    answer(**COUNTED)
    assert dry(ann, file, hyperparameters={"n_epochs": 5})["report"] is not None
    assert dry(ann, file, hyperparameters={"max_length": 16})["report"] is None


def test_rows_that_are_held_out_are_counted_for_the_split_that_was_asked_for_and_cost_nothing(ann):
    file, split = ann.file(), {"eval_carveout": 0.2, "n_epochs": 3, "batch_size": 8}
    dry(ann, file, hyperparameters=split)
    held = pending()
    assert (held.spec["seed"], held.spec["hyperparameters"]) == (0, {"eval_carveout": 0.2})
    counted = {**COUNTED, "held_out": {"rows": 20, "tokens": 900, "trained_tokens": 200}}
    with transaction() as conn:
        reports.finish(conn, held, {"files": [{"id": file, "error": None, **counted}], "error": None})
    told = dry(ann, file, hyperparameters=split)
    assert (told["rows"], told["tokens"], told["trained_tokens"]) == (80, 4100, 1000)
    assert (told["billable_tokens"], told["total_steps"]) == (3 * 4100, 30)
    assert told["report"]["files"][0]["rows"] == 100
    assert dry(ann, file, hyperparameters=split, seed=9)["report"] is None
    assert dry(ann, file, hyperparameters={**split, "eval_carveout": 0.3})["report"] is None


def test_a_dry_run_says_how_the_job_would_fail(ann):
    file = ann.file()
    dry(ann, file)
    answer(NO_EXAMPLES)
    told = dry(ann, file)
    assert told["error"] == NO_EXAMPLES
    assert (told["total_steps"], told["duration_seconds"]) == (None, None)


def test_earlier_jobs_and_the_trainers_that_are_there_make_the_estimate(ann, bob):
    for tokens in (10_000, 20_000):
        succeeded(bob, tokens=tokens, seconds=tokens / 1000, memory_bytes=3_000_000_000)
    for name, size in (("small", 2_000_000_000), ("large", 16_000_000_000)):
        queue.announce(name, {"queues": ["train"], "slots": 1, "device": "cpu", "memory_bytes": size})
    queue.announce("elsewhere", {"queues": ["gpu-80gb"], "slots": 1, "device": "gpu", "memory_bytes": 1})
    file = ann.file()
    dry(ann, file)
    answer(**COUNTED)
    told = dry(ann, file, hyperparameters={"n_epochs": 3})
    assert told["duration_seconds"]["expected"] == pytest.approx(15.0)
    assert told["duration_seconds"]["low"] < 15 < told["duration_seconds"]["high"]
    assert told["memory"]["needed_bytes"] == 3_000_000_000
    assert [(found["memory_bytes"], found["fits"]) for found in told["memory"]["trainers"]] == [
        (16_000_000_000, True),
        (2_000_000_000, False),
    ]
    assert told["start"]["basis"] == "a trainer is free"
    assert told["start"]["earliest"] <= told["start"]["expected"] <= told["start"]["latest"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": "none"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"validation_file": "file-none"}, "validation_file"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"keep_best": True}}, "hyperparameters.keep_best"),
        ({"dry_run": "yes"}, "dry_run"),
    ],
)
def test_a_dry_run_is_refused_as_the_create_would_be(ann, members, param):
    assert problem(ann.create(**{"dry_run": True, **members}), 400)["param"] == param


def test_a_dry_run_that_is_not_asked_for_is_a_create(ann):
    assert ann.job(dry_run=False)["object"] == "fine_tuning.job"
    assert ann.job(dry_run=None)["object"] == "fine_tuning.job"


def test_a_file_alone_has_a_report_with_and_without_a_model(ann):
    file = ann.file()
    told = ann.get(f"/v1/files/{file}/report").get_json()
    assert set(told) == set(FileReportSchema().fields)
    assert (told["report"], told["retry_after"], told["model"]) == (None, 2, None)
    answer(rows=100)
    told = ann.get(f"/v1/files/{file}/report").get_json()
    assert (told["report"]["files"][0]["rows"], told["retry_after"]) == (100, None)
    assert ann.get(f"/v1/files/{file}/report", model="gpt-4o-mini").get_json()["report"] is None


def test_what_has_no_report_says_so(ann, bob):
    assert problem(ann.get("/v1/files/file-none/report"), 404)["param"] == "id"
    assert problem(bob.get(f"/v1/files/{ann.file()}/report"), 404)
    other = ann.file(b"x", name="a.txt", purpose="user_data")
    assert "user_data" in problem(ann.get(f"/v1/files/{other}/report"), 400)["message"]
    assert problem(ann.get(f"/v1/files/{ann.file()}/report", model="none"), 400)["param"] == "model"


def test_a_project_that_waits_for_many_reports_may_not_ask_for_more(ann):
    for _ in range(20):
        dry(ann, ann.file())
    assert problem(ann.create(dry_run=True), 429)["code"] == "too_many_waiting_reports"


def test_prices_make_a_cost(app, ann, monkeypatch):
    file = ann.file()
    dry(ann, file)
    answer(**COUNTED)
    monkeypatch.setenv("PRICE_PER_MILLION_TOKENS", "8")
    monkeypatch.setenv("CURRENCY", "EUR")
    config.settings.cache_clear()
    told = dry(ann, file, hyperparameters={"n_epochs": 4})
    monkeypatch.undo()
    config.settings.cache_clear()
    assert (told["cost"]["expected"], told["cost"]["currency"]) == (pytest.approx(0.16), "EUR")
