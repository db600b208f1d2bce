"""A preference job through all stages with the real trainer, and what it leaves."""

import csv
import io
import json

import pytest

from app.blobs import storage
from app.core.errors import JobFailed
from app.core.states import Status
from app.store import events, files
from app.store.db import transaction
from tests.store.conftest import PROJECT, now
from tests.trainer.conftest import preference
from tests.workers.stages.samples import ROWS, content, created, told, whole
from workers import validation

pytestmark = pytest.mark.slow

PAIRS = [preference(place) for place in range(24)]
VALID_PAIRS = [preference(place) for place in range(100, 104)]


@pytest.fixture(scope="module")
def succeeded(key_id):
    return whole(created(key_id, PAIRS, VALID_PAIRS, method="dpo"))


def test_it_goes_through_all_three_stages_with_its_beta_resolved(succeeded):
    assert succeeded.status is Status.SUCCEEDED
    resolved = succeeded.result["hyperparameters"]
    assert (resolved["beta"], resolved["learning_rate_multiplier"]) == (0.1, 0.1)
    assert resolved["learning_rate"] == pytest.approx(0.001)


def test_both_answers_are_counted_and_rows_are_pairs(succeeded):
    counted = succeeded.result["training"]
    assert counted["rows"] == 24
    assert succeeded.result["total_steps"] == 12
    assert succeeded.result["trained_tokens"] == 2 * counted["tokens"]


def test_its_events_tell_loss_margin_and_share(succeeded):
    with transaction() as conn:
        steps = events.metrics(conn, succeeded.id)
    assert [event.data["step"] for event in steps] == list(range(1, 13))
    assert {"train_loss", "train_preference_accuracy", "train_reward_margin"} <= set(steps[0].data)
    assert steps[0].message.startswith("Step 1/12: training loss=0.69, preferred=")
    assert {"full_valid_preference_accuracy", "full_valid_reward_margin"} <= set(steps[-1].data)


def test_the_result_file_has_the_documented_columns_and_those_of_preferences(succeeded):
    with transaction() as conn:
        file = files.get(conn, PROJECT, succeeded.result["result_files"][0])
        steps = events.metrics(conn, succeeded.id)
    with storage().open(file.path) as stored:
        rows = list(csv.DictReader(io.StringIO(stored.read().decode())))
    assert list(rows[0])[:5] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    last, measured = rows[-1], steps[-1].data
    assert float(last["train_accuracy"]) == measured["train_preference_accuracy"]
    assert float(last["full_valid_reward_margin"]) == measured["full_valid_reward_margin"]
    assert float(last["full_valid_preference_accuracy"]) == measured["full_valid_preference_accuracy"]
    assert {row["valid_mean_token_accuracy"] for row in rows} == {""}


def test_the_manifest_names_the_method_and_its_beta(succeeded):
    manifest = json.loads(content(succeeded, "manifest_file"))
    assert (manifest["method"], manifest["hyperparameters"]["beta"]) == ("dpo", 0.1)


def test_the_preferred_answers_are_what_answers_are_held_against(succeeded):
    answers = [json.loads(line) for line in content(succeeded, "answers_file").splitlines()]
    assert [answer["expected"] for answer in answers] == [
        pair["preferred_output"][0]["content"] for pair in VALID_PAIRS[:3]
    ]


def test_the_pairs_with_the_highest_loss_are_named_by_line(succeeded):
    written = [json.loads(line) for line in content(succeeded, "hardest_file").splitlines()]
    assert [row["rows"] for row in written] == ["training"] * 10 + ["validation"] * 4
    assert {row["line"] for row in written[10:]} == {1, 2, 3, 4}


def failed(job):
    with pytest.raises(JobFailed):
        validation.validate(job.id)
    ended = now(job)
    assert ended.status is Status.FAILED
    return ended.error


def test_equal_answers_are_named_by_line_path_and_remedy(key_id):
    equal = {**PAIRS[3], "non_preferred_output": PAIRS[3]["preferred_output"]}
    job = created(key_id, [*PAIRS[:15], equal, *PAIRS[15:]], method="dpo")
    error = failed(job)
    assert (error["code"], error["param"]) == ("invalid_training_file", "training_file")
    report = json.loads(content(job, "report_file"))
    [finding] = report["files"][0]["findings"]
    assert (finding["line"], finding["path"], finding["code"]) == (16, "$.non_preferred_output", "equal_outputs")
    assert finding["fix"] in error["message"]


def test_answers_that_read_the_same_once_rendered_are_named_too(key_id):
    said, refused = ({"role": "assistant", key: "refund"} for key in ("content", "refusal"))
    sly = {**PAIRS[0], "preferred_output": [said], "non_preferred_output": [refused]}
    job = created(key_id, [*PAIRS, sly], method="dpo")
    error = failed(job)
    assert "Line 25" in error["message"]
    [finding] = json.loads(content(job, "report_file"))["files"][0]["findings"]
    assert finding["code"] == "equal_outputs"


def test_chat_rows_in_a_preference_job_and_pairs_in_a_supervised_one_are_told_of_the_other_method(key_id):
    assert '"supervised"' in failed(created(key_id, ROWS, method="dpo"))["message"]
    assert '"dpo"' in failed(created(key_id, PAIRS))["message"]


def test_long_pairs_are_cut_and_warned_of_once(key_id):
    long = {**PAIRS[0], "input": {"messages": [{"role": "user", "content": "late " * 200}]}}
    job = created(key_id, [*PAIRS, long], method="dpo")
    validation.validate(job.id)
    assert now(job).status is Status.QUEUED
    [warning] = [message for message in told(job, level="warn") if "cut" in message]
    assert "1 (line 25)" in warning
