"""The time left counts all that is still to come, at the pace that was measured."""

from dataclasses import replace

import pytest

from tests.trainer.conftest import of_kind, train_here, write_job
from workers.trainer import pace, preparation, run
from workers.trainer.lifeline import Lifeline
from workers.trainer.pace import Pace, Plan

PLAN = Plan(
    total_steps=12, per_epoch=4, eval_steps=0, tokens=1200, valid_tokens=0, checkpoint_bytes=0, answer_passes=0,
    answer_tokens=0, hardest_tokens=0,
)  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])

    def spend(seconds: float) -> None:
        now[0] += seconds

    return spend


def stepped(measured: Pace, clock, *steps: tuple[float, int]) -> None:
    for seconds, tokens in steps:
        clock(seconds)
        measured.stepped(tokens)


def test_long_rows_that_are_left_take_longer_than_the_short_ones_before(clock):
    measured = Pace(PLAN, {})
    stepped(measured, clock, (1.0, 10), (1.0, 10), (1.0, 10))
    assert measured.seconds_left(step=3, tokens=30) == pytest.approx(1170 * 0.1)


def test_the_first_step_which_warms_up_counts_only_until_the_second(clock):
    measured = Pace(PLAN, {})
    stepped(measured, clock, (8.0, 100))
    assert measured.seconds_left(step=1, tokens=100) == pytest.approx(1100 * 0.08)
    stepped(measured, clock, (1.0, 100))
    assert measured.seconds_left(step=2, tokens=200) == pytest.approx(1000 * 0.01)


def test_what_was_measured_long_ago_fades(clock):
    measured = Pace(replace(PLAN, tokens=10_000), {})
    stepped(measured, clock, (1.0, 1), *[(100.0, 100)] * 10, *[(200.0, 100)] * 15)
    assert measured.seconds_left(step=26, tokens=0) == pytest.approx(20_000, rel=0.01)


def test_a_resumed_run_begins_with_the_pace_that_was_known_and_hardly_heeds_its_first_step(clock):
    before = Pace(replace(PLAN, valid_tokens=500), {})
    stepped(before, clock, (1.0, 100), (1.0, 100))
    with before.evaluating():
        clock(3.0)
    left = before.seconds_left(step=4, tokens=400)
    resumed = Pace(replace(PLAN, valid_tokens=500), before.known())
    assert resumed.seconds_left(step=4, tokens=400) == pytest.approx(left)
    stepped(resumed, clock, (30.0, 100), (2.0, 100))
    assert resumed.seconds_left(step=4, tokens=400) == pytest.approx(left, rel=0.1)


def test_evaluations_and_checkpoints_to_come_are_counted_as_long_as_they_took(clock):
    measured = Pace(replace(PLAN, eval_steps=6, valid_tokens=1), {})
    stepped(measured, clock, (1.0, 100), (1.0, 100))
    with measured.evaluating():
        clock(5.0)
    with measured.publishing("epoch"):
        clock(3.0)
    stepped(measured, clock, (1.0, 100))  # neither is taken for a slow step
    evaluations, publications = 3, 3  # steps 6, 8 and 12; those of steps 8 and 12, and the model
    expected = 7 * 1.0 + evaluations * 5.0 + publications * 3.0
    assert measured.seconds_left(step=5, tokens=500) == pytest.approx(expected)


def test_the_hardest_rows_are_looked_for_at_the_pace_of_steps_whatever_an_evaluation_takes(clock):
    measured = Pace(replace(PLAN, valid_tokens=100, hardest_tokens=1000), {"publication_seconds": 0.0})
    stepped(measured, clock, (1.0, 100), (1.0, 100))
    with measured.evaluating():
        clock(0.1)
    assert measured.seconds_left(step=12, tokens=1200) == pytest.approx(0.4 * 1000 * 0.01)


def test_an_evaluation_at_the_end_of_an_epoch_is_counted_once():
    plan = replace(PLAN, eval_steps=2, valid_tokens=1)
    assert [plan.evaluations(after=step) for step in (1, 4, 11, 12)] == [6, 4, 1, 0]
    assert replace(plan, valid_tokens=0).evaluations(after=1) == 0


def test_the_epoch_checkpoint_of_the_step_itself_is_still_to_come():
    assert [PLAN.publications(after=step) for step in (1, 4, 5, 12)] == [4, 4, 3, 2]


def test_a_run_that_ends_early_has_nothing_before_it_but_its_model(clock):
    measured = Pace(replace(PLAN, valid_tokens=1), {})
    stepped(measured, clock, (1.0, 100), (1.0, 100))
    with measured.publishing("epoch"):
        clock(3.0)
    measured.end_early(step=5, tokens=500)
    assert measured.seconds_left(step=5, tokens=500) == pytest.approx(3.0)


def test_resume_points_are_part_of_the_steps(clock):
    measured = Pace(PLAN, {"publication_seconds": 0.0})
    stepped(measured, clock, (1.0, 100))
    for _ in range(3):
        with measured.publishing("resume"):
            clock(1.0)
        stepped(measured, clock, (1.0, 100))
    with measured.publishing("epoch"):
        pass
    assert measured.seconds_left(step=4, tokens=400) == pytest.approx(800 * 0.02)


@pytest.mark.parametrize(
    ("known", "more"),
    [
        ({"valid_tokens": 1000}, "evaluations"),
        ({"checkpoint_bytes": 10**9}, "checkpoints"),
        ({"hardest_tokens": 1000}, "hardest rows"),
        ({"answer_passes": 100, "answer_tokens": 2000}, "answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_not_timed_yet_is_in_the_estimate(clock, known, more):
    bare, full = Pace(PLAN, {}), Pace(replace(PLAN, **known), {})
    clock(1.0)
    for measured in (bare, full):
        measured.stepped(100)
    assert full.seconds_left(step=1, tokens=100) > bare.seconds_left(step=1, tokens=100), more


@pytest.mark.slow
def test_a_plan_knows_what_the_run_will_have_done_at_its_end(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, eval_steps=4, batch_size=5)
    prepared = preparation.prepare(job, Lifeline(), lambda line: None)
    plan = prepared.pace._plan
    lines: list[dict] = []
    while prepared.step < prepared.total_steps:
        run.advance(prepared, Lifeline(), lines.append)
    steps = of_kind(lines, "metrics")
    assert plan.tokens == prepared.history.tokens == sum(step["tokens"] for step in steps)
    assert plan.evaluations(after=1) == sum("full_valid_loss" in step for step in steps)
    assert plan.publications(after=1) == len(of_kind(lines, "checkpoint")) + 1
    assert plan.answer_passes > 0
    assert plan.hardest_tokens == prepared.train.tokens + prepared.valid.tokens


@pytest.mark.slow
def test_a_run_without_validation_rows_awaits_neither_evaluations_nor_answers(tiny, tmp_path):
    prepared = preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None)
    plan = prepared.pace._plan
    assert (plan.evaluations(after=1), plan.answer_passes, plan.answer_tokens) == (0, 0, 0)


@pytest.mark.slow
def test_what_was_measured_can_be_handed_on_in_the_spec(tiny, tmp_path):
    first = of_kind(train_here(write_job(tmp_path / "first", tiny)), "progress")[-1]
    assert first["pace"]["seconds_per_token"] > 0
    job = write_job(tmp_path / "second", tiny, pace=first["pace"])
    assert preparation.prepare(job, Lifeline(), lambda line: None).pace.known() == pytest.approx(first["pace"])
