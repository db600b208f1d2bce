"""Estimates: what earlier jobs took, carried over to the next one, with a range that is honest."""

import pytest

from app.core.estimates import LEAST_SPREAD, cost, duration, memory, wait
from app.core.job import Crowd, Run


def run(tokens: int, seconds: float, memory_bytes: int | None = None) -> Run:
    return Run(tokens, seconds, memory_bytes)


def test_nothing_is_estimated_before_the_first_job():
    assert duration([], 1000) is None
    assert duration([run(0, 5.0)], 1000) is None


def test_start_up_and_speed_are_told_apart():
    found = duration([run(10_000, 15.0), run(20_000, 25.0), run(40_000, 45.0)], 80_000)
    assert found is not None
    assert found.expected == pytest.approx(85.0)
    assert found.low == pytest.approx(85.0 * (1 - LEAST_SPREAD))
    assert "3 earlier jobs" in found.basis


def test_one_job_alone_is_scaled_by_its_tokens():
    found = duration([run(10_000, 20.0)], 30_000)
    assert found is not None
    assert found.expected == pytest.approx(60.0)


def test_jobs_that_disagree_widen_the_range():
    found = duration([run(10_000, 10.0), run(10_000, 30.0)], 10_000)
    assert found is not None
    assert (found.low, found.expected, found.high) == (10.0, 20.0, 30.0)


@pytest.mark.parametrize("runs", [[run(10_000, 30.0), run(20_000, 20.0)], [run(1_000, 1.0), run(2_000, 9.0)]])
def test_neither_start_up_nor_speed_is_ever_negative(runs):
    for tokens in (1, 1_000_000):
        found = duration(runs, tokens)
        assert found is not None
        assert 0 < found.low <= found.expected <= found.high


def test_measured_memory_goes_before_the_catalogues_words():
    assert memory([run(1, 1.0, 300), run(1, 1.0, 500), run(1, 1.0)], {"lora": "2 GB"}, "lora") == (
        500,
        "the most that 2 earlier jobs of this model and training type needed",
    )
    assert memory([run(1, 1.0, 300)], {}, "lora") == (
        300,
        "the most that 1 earlier job of this model and training type needed",
    )
    assert memory([run(1, 1.0)], {"lora": "1.5 GB"}, "lora") == (1_500_000_000, "the catalogue's figure")
    assert memory([], {"lora": "plenty"}, "lora") is None


def test_a_free_trainer_starts_at_once():
    found = wait(Crowd(0, 0, 1, 100.0), slots=2)
    assert found is not None
    assert found.high == 0


def test_a_start_is_not_guessed_before_a_job_was_timed():
    assert wait(Crowd(0, 0, 1, None), slots=1) is None
    assert wait(Crowd(0, 0, 0, None), slots=0) is None


def test_a_start_lies_between_the_own_jobs_ahead_and_all_of_them():
    found = wait(Crowd(waiting_own=1, waiting=5, running=2, job_seconds=100.0), slots=2)
    assert found is not None
    assert found.low == pytest.approx(75.0)
    assert found.expected == pytest.approx(275.0)
    assert found.high > found.expected


def test_a_cost_needs_a_price_and_what_it_is_a_price_of():
    seconds = duration([run(1_000, 3600.0)], 1_000)
    assert cost(seconds, 1_000_000, per_hour=0.0, per_million_tokens=0.0) is None
    assert cost(None, 1_000_000, per_hour=2.0, per_million_tokens=1.0) is None
    found = cost(seconds, 2_000_000, per_hour=2.0, per_million_tokens=1.0)
    assert found is not None
    assert found.expected == pytest.approx(4.0)
    assert found.low < found.expected < found.high
