"""The verdict: what must hold, drawn from witness, tables and weights together; every violation in a sentence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from app.core.states import MOVES, TERMINAL, Status
from tests.chaos import witness
from tests.chaos.evidence import Evidence

LOSSES_AT_MOST = 3  # in a row, without a new resume point; the next one fails the job
LEGAL = {(str(a), str(b)) for a, b in MOVES}


@dataclass(frozen=True)
class Turn:
    """The time in which one attempt may train a job; seconds of CLOCK_MONOTONIC, open while nothing has ended it."""

    attempt: int
    began: float
    ended: float


def violations(evidence: Evidence) -> list[str]:
    """What does not hold."""
    return [said for check in CHECKS for said in check(evidence)]


def lost(evidence: Evidence) -> Iterator[str]:
    """An accepted job ends."""
    for order in evidence.orders:
        row = evidence.jobs.get(order.id)
        if row is None:
            yield f"{order.id} was accepted and is not there"
        elif row["status"] not in TERMINAL:
            yield f"{order.id} has not ended: it is {row['status']}, attempt {row['attempt']}"


def given_up(evidence: Evidence, job: str) -> bool:
    """Whether a job failed as it is promised to: lost too often in a row, and no run of these began further."""
    error = evidence.jobs[job]["error"] or {}
    losses = [event for event in evidence.events.get(job, []) if event["lost"]][-LOSSES_AT_MOST - 1 :]
    attempts = {event["attempt"] for event in losses}
    begun = {
        sight.step
        for sight in evidence.sights
        if sight.job == job and sight.attempt in attempts and sight.what == "start"
    }
    in_a_row = [event["data"]["losses"] for event in losses] == list(range(1, LOSSES_AT_MOST + 2))
    return error.get("code") == "worker_lost" and in_a_row and len(begun) <= 1


def unexpected(evidence: Evidence) -> Iterator[str]:
    """It ends in the state its owner would expect; and a cancelled one has no model."""
    for order in evidence.orders:
        row = evidence.jobs.get(order.id)
        if row is None or row["status"] not in TERMINAL:
            continue
        if row["status"] != order.expected and not given_up(evidence, order.id):
            yield f"{order.id} ended as {row['status']}, not as {order.expected}: {order.done}, {row['error']}"
        published = len(evidence.models.get(order.id, []))
        if published != (row["status"] == Status.SUCCEEDED):
            yield f"{order.id} is {row['status']} and has {published} models"


def repeated_orders(evidence: Evidence) -> Iterator[str]:
    """One Idempotency-Key, one job; and no job that nobody ordered."""
    ordered = {order.id for order in evidence.orders}
    if len(ordered) != len({order.key for order in evidence.orders}):
        yield "two Idempotency-Keys gave one job"
    yield from (f"{job} is there and nobody was told of it" for job in evidence.jobs.keys() - ordered)


def together(evidence: Evidence) -> Iterator[str]:
    """No two trainers of one job are alive at one moment."""
    for one, other in witness.overlaps(evidence.sights):
        yield (
            f"{one.job} had two live trainers for {one.last - other.first:.3f} s: attempt {one.attempt} (pid {one.pid})"
            f" and attempt {other.attempt} (pid {other.pid})"
        )


def turns(events: list[dict[str, Any]], clock: Callable[[Any], float]) -> list[Turn]:
    """The turns of a job's trainers, as its status events tell of them."""
    moves = [event for event in events if event["data"] and "status" in event["data"]]
    ends = [clock(event["created_at"]) for event in moves[1:]] + [float("inf")]
    return [
        Turn(event["attempt"], clock(event["created_at"]), ended)
        for event, ended in zip(moves, ends, strict=True)
        if event["data"]["status"] == Status.RUNNING
    ]


def out_of_turn(evidence: Evidence) -> Iterator[str]:
    """No trainer is at work before its attempt was claimed, or after it was taken back, paused, cancelled or done."""
    slack = evidence.clock.slack
    turn_of = {
        (job, turn.attempt): turn
        for job, events in evidence.events.items()
        for turn in turns(events, evidence.clock.monotonic)
    }
    for sight in evidence.sights:
        turn = turn_of.get((sight.job, sight.attempt))
        if turn is None:
            yield f"{sight.job}: attempt {sight.attempt} was at work and never claimed"
        elif not turn.began - slack <= sight.at <= turn.ended + slack:
            late = max(turn.began - sight.at, sight.at - turn.ended)
            yield f"{sight.job}: attempt {sight.attempt} was at step {sight.step} {late:.3f} s out of its turn"


def told(evidence: Evidence) -> Iterator[str]:
    """The status events form a connected path of legal moves; exactly one is terminal, and nothing follows it."""
    for job, row in evidence.jobs.items():
        events = evidence.events.get(job, [])
        moves = [event["data"] for event in events if event["data"] and "status" in event["data"]]
        path = [str(move["status"]) for move in moves]
        froms = [move.get("from") for move in moves]
        if froms != [None, *path[:-1]] or any(move not in LEGAL for move in pairwise(path)):
            yield f"{job}: its events tell no path of legal moves: {path}"
        if path[-1:] != [row["status"]]:
            yield f"{job} is {row['status']}, its events say {path[-1:]}"
        if (ends := sum(status in TERMINAL for status in path)) != (row["status"] in TERMINAL):
            yield f"{job} has {ends} terminal events"
        if ends and (events[-1]["data"] or {}).get("status") not in TERMINAL:
            yield f"{job}: something follows its terminal event"


def attempts(evidence: Evidence) -> Iterator[str]:
    """The attempt rises with every claim, and no event carries a lower one than an event before it."""
    for job, events in evidence.events.items():
        written = [event["attempt"] for event in events]
        if written != sorted(written):
            yield f"{job}: attempts in the order of events: {written}"
        claims = [event["attempt"] for event in events if (event["data"] or {}).get("status") == Status.RUNNING]
        if len(claims) != len(set(claims)):
            yield f"{job}: one attempt was claimed twice: {claims}"


def leases(evidence: Evidence) -> Iterator[str]:
    """Terminal or paused means no lease and no wish; running means a lease."""
    for job, row in evidence.jobs.items():
        if (row["status"] in TERMINAL or row["status"] == Status.PAUSED) and row["lease_owner"]:
            yield f"{job} is {row['status']} and leased to {row['lease_owner']}"


def steps(evidence: Evidence) -> Iterator[str]:
    """A job that succeeded took every step."""
    taken = witness.steps(evidence.sights)
    for job, row in evidence.jobs.items():
        if row["status"] == Status.SUCCEEDED:
            missing = set(range(1, row["result"]["total_steps"] + 1)) - taken[job].keys()
            if missing or max(taken[job], default=0) > row["result"]["total_steps"]:
                yield f"{job} succeeded without the steps {sorted(missing)}, its last was {max(taken[job], default=0)}"


def weights(evidence: Evidence) -> Iterator[str]:
    """Its weights are those of an undisturbed run."""
    for order in evidence.orders:
        if evidence.jobs.get(order.id, {}).get("status") != Status.SUCCEEDED:
            continue
        found, wanted = evidence.weights.get(order.id, "missing"), evidence.undisturbed[order.kind.name]
        if found != wanted:
            yield f"{order.id} ({order.kind.name}): weights {found[:16]} are not {wanted[:16]}"


def recoveries(evidence: Evidence) -> Iterator[str]:
    """Every fault's traces go in time, and an orphaned trainer goes before its lease lapses."""
    for struck in evidence.struck:
        if struck.recovery is None:
            yield f"{struck.fault}: {struck.failure}"
            continue
        if struck.recovery.seconds > struck.limit_seconds:
            yield f"{struck.fault}: took {struck.recovery.seconds:.1f} s, allowed are {struck.limit_seconds:.0f} s"
        orphan = struck.recovery.orphan
        late = orphan.gone_at - evidence.clock.monotonic(orphan.lapsed_at) if orphan else -1.0
        if late > evidence.clock.slack:
            yield f"{struck.fault}: the orphaned trainer lived {late:.2f} s longer than its lease"


def window(evidence: Evidence) -> Iterator[str]:
    """No more jobs are woken than fit the window, and Redis holds one message per dispatch."""
    if evidence.most_woken > evidence.dispatch_ahead:
        yield f"{evidence.most_woken} jobs of one queue were woken, {evidence.dispatch_ahead} are allowed"
    yield from (f"the message {task_id} was sent twice" for task_id in evidence.sent_twice)


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    lost,
    unexpected,
    repeated_orders,
    together,
    out_of_turn,
    told,
    attempts,
    leases,
    steps,
    weights,
    recoveries,
    window,
)
