"""The verdict finds what it is there to find: each test spoils sound evidence in one way."""

from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from tests.chaos import report, verdict
from tests.chaos.customers import KINDS, Order
from tests.chaos.evidence import Evidence, Struck, Timepiece
from tests.chaos.recovery import Orphan, Recovery
from tests.chaos.witness import Sight

JOB = "ftjob-1"
KIND = KINDS[0]
AHEAD = 1_000_000.0  # of the wall clock, before CLOCK_MONOTONIC


def wall(monotonic):
    return datetime.fromtimestamp(monotonic + AHEAD, UTC)


def event(attempt, status, was, at):
    data = {"status": status, "from": was} if was else {"status": status}
    return {"attempt": attempt, "created_at": wall(at), "data": data, "lost": False}


EVENTS = [
    event(0, "validating_files", None, 0),
    event(1, "queued", "validating_files", 1),
    event(2, "running", "queued", 2),
    event(2, "queued", "running", 6),
    event(3, "running", "queued", 7),
    event(3, "finalizing", "running", 9),
    event(4, "succeeded", "finalizing", 10),
]
SIGHTS = [
    Sight(50, JOB, 2, 0, "start", 2.5),
    Sight(50, JOB, 2, 1, "step", 3.0),
    Sight(50, JOB, 2, 2, "step", 5.0),
    Sight(60, JOB, 3, 0, "start", 7.5),
    Sight(60, JOB, 3, 2, "step", 8.0),
    Sight(60, JOB, 3, 3, "step", 8.5),
    Sight(60, JOB, 3, 3, "end", 8.6),
]
ROW = MappingProxyType(
    {"id": JOB, "status": "succeeded", "attempt": 4, "lease_owner": None, "error": None, "result": {"total_steps": 3}}
)
ORDER = Order(JOB, KIND, [], "chaos-0", [], "succeeded")
SOUND = Evidence(
    orders=[ORDER],
    jobs={JOB: dict(ROW)},
    events={JOB: EVENTS},
    models={JOB: [{"job_id": JOB}]},
    sights=SIGHTS,
    weights={JOB: "aa"},
    undisturbed={KIND.name: "aa"},
    clock=Timepiece(AHEAD, AHEAD),
    struck=[Struck("Redis killed", Recovery(3.0, Orphan(4.0, wall(5.0))), 10.0)],
    dispatch_ahead=2,
    most_woken=2,
)


def with_sight(*sights):
    return replace(SOUND, sights=[*SIGHTS, *sights])


def with_events(events):
    return replace(SOUND, events={JOB: events})


def with_row(**changes):
    return replace(SOUND, jobs={JOB: ROW | changes})


def lost(attempt, losses, at):
    return {"attempt": attempt, "created_at": wall(at), "data": {"worker": "w", "losses": losses}, "lost": True}


def given_up(*, losses=(1, 2, 3, 4), begun=(0, 0, 0, 0), code="worker_lost"):
    """A job that failed after these losses, whose runs began at these steps."""
    told = [
        each
        for number, count in enumerate(losses)
        for each in (
            event(number + 2, "running", "queued", 2 + 2 * number),
            lost(number + 2, count, 3 + 2 * number),
            event(number + 2, "failed" if number == 3 else "queued", "running", 3 + 2 * number),
        )
    ]
    return replace(
        SOUND,
        events={JOB: [*EVENTS[:2], *told]},
        sights=[Sight(50 + n, JOB, n + 2, step, "start", 2.5 + 2 * n) for n, step in enumerate(begun)],
        jobs={JOB: ROW | {"status": "failed", "attempt": 5, "error": {"code": code}}},
        models={},
        weights={},
    )


def test_a_job_that_was_lost_four_times_in_a_row_may_be_given_up():
    assert verdict.violations(given_up()) == []


@pytest.mark.parametrize(
    "spoilt",
    [given_up(losses=(1, 2, 1, 2)), given_up(begun=(0, 0, 7, 7)), given_up(code="internal_error")],
    ids=["with a checkpoint in between", "although a run began further", "with another error"],
)
def test_a_job_that_failed_otherwise_is_unexpected(spoilt):
    [said] = verdict.unexpected(spoilt)
    assert "ended as failed" in said


def test_the_report_names_the_fault_before_each_loss_of_a_job_that_was_given_up():
    struck = [Struck("kill -9: trainer", None, 10.0, began=at) for at in (2.5, 6.5)]
    [said] = report.given_up(replace(given_up(), struck=struck))
    assert said.startswith(f"{JOB} was given up")
    assert said.endswith(
        "kill -9: trainer, 0.5 s; kill -9: trainer, 2.5 s; kill -9: trainer, 0.5 s; kill -9: trainer, 2.5 s"
    )


def with_order(**changes):
    return replace(SOUND, orders=[replace(ORDER, **changes)])


def with_struck(recovery, failure=""):
    return replace(SOUND, struck=[Struck("Redis killed", recovery, 10.0, failure)])


def test_sound_evidence_holds_no_violation():
    assert verdict.violations(SOUND) == []


SPOILT = {
    "a job that is not there": (replace(SOUND, jobs={}), "is not there"),
    "a job that never ends": (with_row(status="queued"), "has not ended"),
    "a job that failed for no fault of its own": (with_row(status="failed"), "ended as failed, not as succeeded"),
    "a cancelled job that succeeded": (with_order(done=["cancel"]), "ended as succeeded, not as cancelled"),
    "two models of one job": (replace(SOUND, models={JOB: [{}, {}]}), "has 2 models"),
    "a model of a job that has none": (replace(SOUND, models={}), "has 0 models"),
    "a second job of one request": (replace(SOUND, jobs={JOB: dict(ROW), "other": dict(ROW)}), "nobody was told"),
    "a trainer that lives on": (with_sight(Sight(50, JOB, 2, 3, "step", 7.6)), "two live trainers for 0.100 s"),
    "two processes of one attempt": (with_sight(Sight(61, JOB, 3, 3, "step", 8.55)), "two live trainers"),
    "a step after the take-back": (with_sight(Sight(50, JOB, 2, 3, "step", 6.25)), "step 3 0.250 s out of its turn"),
    "a step of an attempt that nobody claimed": (with_sight(Sight(70, JOB, 9, 3, "step", 8.7)), "never claimed"),
    "an illegal move": (with_events([*EVENTS[:1], *EVENTS[2:]]), "no path of legal moves"),
    "a status that no event tells of": (with_events(EVENTS[:-1]), "its events say ['finalizing']"),
    "two terminal events": (with_events([*EVENTS, event(4, "failed", "succeeded", 11)]), "2 terminal events"),
    "a word after the last": (with_events([*EVENTS, EVENTS[0] | {"data": None, "attempt": 4}]), "follows its terminal"),
    "a falling attempt": (with_events([*EVENTS[:5], EVENTS[5] | {"attempt": 2}, EVENTS[6]]), "attempts in the order"),
    "a lease of an ended job": (with_row(lease_owner="host:1:x"), "leased to host:1:x"),
    "a step that was never taken": (replace(SOUND, sights=SIGHTS[:5] + SIGHTS[6:]), "without the steps [3]"),
    "a step too many": (with_row(result={"total_steps": 2}), "its last was 3"),
    "other weights": (replace(SOUND, weights={JOB: "bb"}), "weights bb are not aa"),
    "weights that cannot be had": (replace(SOUND, weights={}), "weights missing"),
    "a slow recovery": (with_struck(Recovery(11.0)), "took 11.0 s, allowed are 10 s"),
    "no recovery": (with_struck(None, "waited in vain"), "Redis killed: waited in vain"),
    "an orphan older than its lease": (with_struck(Recovery(1.0, Orphan(5.5, wall(5.0)))), "0.50 s longer"),
    "too many woken jobs": (replace(SOUND, most_woken=3), "3 jobs of one queue were woken"),
    "a message sent twice": (replace(SOUND, sent_twice=frozenset({"t1"})), "t1 was sent twice"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_the_verdict_finds(spoilt):
    evidence, said = SPOILT[spoilt]
    found = verdict.violations(evidence)
    assert found
    assert any(said in violation for violation in found), found
