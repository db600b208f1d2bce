"""What rivals saw themselves commit, by the database's clock, and the laws that this must obey."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from typing import NamedTuple

from app.core.job import Job
from app.core.states import Outcome, Status
from app.store.db import Connection, Row
from app.store.leases import LOSSES_ALLOWED
from tests.store.laws import Kept


class Turn(NamedTuple):
    """One attempt at a job, from its claim to its finish or its take-back."""

    job_id: str
    attempt: int


def turn_of(job: Job) -> Turn:
    return Turn(job.id, job.attempt)


class Written(NamedTuple):
    """A write of a worker that was let through; `line` is what it added to the log."""

    turn: Turn
    at: datetime
    kind: str
    line: str | None


@dataclass
class Witness:
    """Filled by many threads, each after its commit, and read when they are gone."""

    begun: dict[Turn, datetime] = field(default_factory=dict)
    held_until: dict[Turn, datetime] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    outcomes: dict[Turn, Outcome] = field(default_factory=dict)
    taken_back: dict[Turn, datetime] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)

    @property
    def finished(self) -> dict[Turn, datetime]:
        return {turn: at for turn, at, kind, _ in self.written if kind == "finish"}

    def turns(self) -> Iterator[tuple[str, list[Turn]]]:
        """The turns of each job that was ever claimed, in order."""
        for job_id, turns in groupby(sorted(self.begun), key=lambda turn: turn.job_id):
            yield job_id, list(turns)


def moment(conn: Connection[Row], turn: Turn) -> tuple[datetime, datetime | None]:
    """The database's clock, and until when the turn holds its lease; asked inside the transaction that has the row."""
    row = conn.execute(
        "select clock_timestamp() as now, (select lease_until from jobs where id = %s and attempt = %s) as until",
        turn,
    ).fetchone()
    assert row is not None
    return row["now"], row["until"]


def attempts_rise_by_one(witness: Witness, kept: dict[str, Kept]) -> None:
    for job_id, turns in witness.turns():
        assert [turn.attempt for turn in turns] == list(range(1, kept[job_id].job["attempt"] + 1))


def no_two_leases_at_once(witness: Witness) -> None:
    finished = witness.finished
    for _, turns in witness.turns():
        for turn, successor in pairwise(turns):
            released = finished.get(turn, witness.held_until[turn])
            assert witness.begun[successor] >= released, f"{successor} began before {turn} had let go"


def every_turn_ends_once(witness: Witness) -> None:
    finished = witness.finished.keys()
    assert finished | witness.taken_back.keys() == witness.begun.keys()
    assert not finished & witness.taken_back.keys()


def no_late_write_was_let_through(witness: Witness) -> None:
    finished = witness.finished
    for turn, at, kind, _ in witness.written:
        assert at <= finished.get(turn, at), f"a late {kind} was let through after the finish of {turn}"
        assert at <= witness.taken_back.get(turn, at), f"a late {kind} was let through after the take-back of {turn}"


def the_log_holds_what_was_let_through_and_no_more(witness: Witness, kept: dict[str, Kept]) -> None:
    said = {(turn.job_id, line) for turn, _, _, line in witness.written if line is not None}
    found = [
        (job_id, event["message"]) for job_id, one in kept.items() for event in one.events if event["seq"] is not None
    ]
    assert len(found) == len(said)
    assert set(found) == said


def owners_end(witness: Witness, job_id: str, turns: list[Turn]) -> Status:
    """The end that the owner of a job would expect, by what was accepted and what happened."""
    if job_id in witness.cancelled:
        return Status.CANCELLED
    if witness.outcomes.get(turns[-1]) is Outcome.FAILED or lost_too_often(witness, turns):
        return Status.FAILED
    return Status.SUCCEEDED


def lost_too_often(witness: Witness, turns: list[Turn]) -> bool:
    """Whether more turns were lost than are allowed since the last one that made progress."""
    published = {turn for turn, _, kind, _ in witness.written if kind == "record"}
    losses = 0
    for turn in turns:
        if turn in published or witness.outcomes.get(turn) is Outcome.DONE:
            losses = 0
        losses += turn in witness.taken_back
    return losses > LOSSES_ALLOWED
