"""A few hundred jobs through a small crowd of workers: what must hold at any size holds here."""

import pytest

from tests.bench import many
from tests.bench.backlog import Verdict
from tests.bench.crowd import Size


@pytest.fixture(scope="module")
def found() -> many.Found:
    return many.measure(Size(jobs=200, trainers=1, slots=8, others=2), repeats=5)


@pytest.mark.e2e
def test_no_job_is_lost_claimed_twice_a_stage_ended_twice_or_without_its_model(found):
    assert found.verdict == Verdict(lost=0, claimed_again=0, ended_otherwise=0, without_their_model=0)


@pytest.mark.e2e
def test_redis_never_holds_more_jobs_than_the_window(found):
    assert 0 < found.most_offered <= found.window


@pytest.mark.e2e
def test_every_binding_row_of_the_table_is_reached(found):
    binding = [row for row in many.rows(found) if row.binding]
    assert len(binding) == 5
    assert not [row.what for row in binding if row.broken]
