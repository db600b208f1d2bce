"""A short campaign: a fault of each of some kinds, and the whole verdict."""

from collections import Counter

import pytest

from tests.chaos import campaign, report, verdict
from tests.chaos.faults import FAULTS, MESSAGES, first_round
from tests.chaos.plan import Plan

SHORT = (
    "kill -9: trainer",
    "kill -9: supervising pool child",
    "kill -9: web",
    "supervisor stopped past its lease",
    "Redis flushed",
    MESSAGES,
)


def test_a_full_run_inflicts_forty_faults_of_processes_and_three_of_every_kind():
    counts = Counter(first_round())
    assert counts.keys() == FAULTS.keys()
    assert min(counts.values()) >= 3
    assert sum(number for name, number in counts.items() if FAULTS[name].process) >= 40


def test_the_same_seed_gives_the_same_faults_in_the_same_order():
    one, other = (Plan(seed=5, seconds=0, lease_seconds=5, faults=first_round()).schedule() for _ in range(2))
    assert [next(one) for _ in range(100)] == [next(other) for _ in range(100)]


@pytest.mark.slow
@pytest.mark.e2e
def test_nothing_is_lost_and_nothing_trained_twice_in_a_short_campaign():
    busy_machine = 120
    plan = Plan(
        seed=20, seconds=0, lease_seconds=5, faults=SHORT, kinds=2, unfinished=4, tampered=6, least_margin=busy_machine
    )
    found = campaign.run(plan, print)
    violations = verdict.violations(found)
    report.print_tables(found, violations)
    assert violations == []
    assert {struck.fault for struck in found.struck} == set(SHORT)
