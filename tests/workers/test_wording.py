"""What is said of a run that goes on must be true: from where, on which worker, and what is done again."""

from dataclasses import replace

import pytest

from app.core.job import Job
from tests.store.conftest import running
from workers.wording import best_event, ended_early_event, hardest_event, started_event

FROZEN = {"dtype": "float32", "threads": 2}
STARTED = {"type": "started", "step": 115, "resumed_from": 115, "environment": FROZEN}


@pytest.fixture
def lost(new_job) -> Job:
    """A job that another process of this machine held until step 120."""
    told = {"step": 120, "worker": "red:7:aaaa"}
    return replace(running(new_job), lease_owner="red:9:bbbb", environment=FROZEN, progress=told)


def said(line: dict, job: Job) -> str:
    event = started_event(line, job)
    assert event is not None
    return event.message


def test_steps_that_are_done_again_are_counted(lost):
    event = started_event(STARTED, lost)
    assert event.message == "Resumed from the checkpoint at step 115; 5 steps are trained again, to the same bits"
    assert event.data == {"attempt": lost.attempt, "step": 115, "repeated_steps": 5}


def test_another_machine_is_another_worker_and_another_process_is_not(lost):
    elsewhere = replace(lost, lease_owner="blue:7:aaaa", progress={"step": 115, "worker": "red:7:aaaa"})
    assert said(STARTED, elsewhere) == "Resumed from the checkpoint at step 115 on another worker"
    assert "another" not in said(STARTED, lost)


def test_a_host_with_colons_in_its_name_is_compared_whole(lost):
    elsewhere = replace(lost, lease_owner="fe80::1:7:aaaa", progress={"worker": "fe80::2:7:aaaa"})
    assert "on another worker" in said(STARTED, elsewhere)


def test_where_it_is_not_known_who_held_the_job_nothing_is_said_of_it(lost):
    assert said(STARTED, replace(lost, progress={})) == "Resumed from the checkpoint at step 115"


def test_equal_bits_are_promised_on_an_equal_machine_only(lost):
    differing = {**STARTED, "environment": {**FROZEN, "threads": 4}}
    assert said(differing, lost).endswith("; 5 steps are trained again")


def test_one_step_is_one_step(lost):
    assert "; 1 step is trained again" in said({**STARTED, "resumed_from": 119}, lost)


def test_a_run_without_a_checkpoint_starts_again(lost):
    again = said({**STARTED, "resumed_from": None}, lost)
    assert again == "Training starts again from the first step; 120 steps are trained again, to the same bits"


def test_a_run_that_begins_says_nothing(lost):
    assert started_event({**STARTED, "resumed_from": None}, replace(lost, environment=None, progress={})) is None


def test_a_delta_and_a_single_evaluation_are_told_as_they_are():
    line = {"step": 9, "planned_steps": 40, "evaluations": 1, "delta": 0.05, "fell": {"step": 6, "full_valid_loss": 1}}
    assert ended_early_event(line).message == (
        "Training ended early at step 9 of 40: the validation loss has not fallen by more than 0.05 for 1 evaluation; "
        "it was 1.0000 at step 6"
    )


def test_of_a_best_checkpoint_that_is_the_last_one_too_one_loss_is_told():
    line = {"type": "best", "step": 9, "full_valid_loss": 0.25, "last_step": 9, "last_full_valid_loss": 0.25}
    event = best_event(line)
    assert event.message == "The model is the best checkpoint: its validation loss was 0.2500 at step 9"
    assert event.data == {name: value for name, value in line.items() if name != "type"}


def test_rows_that_were_held_out_are_told_apart_from_those_trained_on():
    found = {"training": {"rows": 8, "looked_at": 8, "lines": [4], "losses": [2.0]}}
    event = hardest_event({**found, "held_out": {"rows": 2, "looked_at": 2, "lines": [7], "losses": [1.0]}}, "file-1")
    assert event.message == "Rows with the highest loss: training lines 4; held-out lines 7"


def test_hardest_rows_are_named_by_line_and_a_sample_is_said_to_be_one():
    found = {
        "training": {"rows": 50_000, "looked_at": 2000, "lines": [4001, 26], "losses": [3.5, 2.0]},
        "validation": {"rows": 40, "looked_at": 40, "lines": [7], "losses": [1.0]},
    }
    event = hardest_event(found, "file-1")
    assert event.message == (
        "Rows with the highest loss: training lines 4001, 26 (2,000 of 50,000 rows looked at); validation lines 7"
    )
    assert event.data == {**found, "hardest_file": "file-1"}
