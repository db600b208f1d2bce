"""What must hold of the rows of a job at any moment, whoever wrote them and in what order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from app.core.states import MOVES, TERMINAL, Desired, Status
from app.store.db import Connection, Row


@dataclass(frozen=True)
class Kept:
    """Every row that the store keeps of a job; times are strings. `due`: whether `not_before` had passed."""

    job: Row
    events: list[Row]
    checkpoints: list[Row]
    models: list[Row]
    training_file: Row | None
    due: bool = field(compare=False)

    @property
    def ended(self) -> bool:
        return self.job["status"] in TERMINAL

    @property
    def leased(self) -> bool:
        return self.job["lease_owner"] is not None

    @property
    def losses(self) -> int:
        """How often the log tells that a worker was lost."""
        return sum("losses" in (event["data"] or {}) for event in self.events)


def kept(conn: Connection[Row], job_ids: Sequence[str]) -> dict[str, Kept]:
    """What the store keeps of these jobs, in one statement, so as of one moment."""
    found = conn.execute(
        """
        select to_jsonb(j) as job, j.not_before <= clock_timestamp() as due,
               (select coalesce(jsonb_agg(to_jsonb(e) order by e.id), '[]') from job_events e
                 where e.job_id = j.id) as events,
               (select coalesce(jsonb_agg(to_jsonb(c) order by c.step), '[]') from checkpoints c
                 where c.job_id = j.id) as checkpoints,
               (select coalesce(jsonb_agg(to_jsonb(m)), '[]') from models m where m.job_id = j.id) as models,
               (select to_jsonb(f) from files f where f.id = j.spec->>'training_file') as training_file
          from jobs j where j.id = any(%s)
        """,
        (list(job_ids),),
    )
    return {row["job"]["id"]: Kept(**row) for row in found}


def hold_of(one: Kept) -> None:
    """Raise AssertionError where the rows of a job break a law."""
    _lease_fits_status(one.job)
    _log_is_a_path_of_legal_moves(one)
    _an_end_is_told_once_and_last(one)
    _no_row_is_of_an_attempt_to_come(one)
    _a_model_is_there_if_and_only_if_the_job_succeeded(one)
    _the_bytes_of_an_unfinished_job_are_kept(one)


def _lease_fits_status(job: Row) -> None:
    status, leased = job["status"], job["lease_owner"] is not None
    assert leased == (job["lease_until"] is not None)
    assert not leased or status not in {*TERMINAL, Status.PAUSED, Status.QUEUED}, "who waits or ended holds no lease"
    assert leased or status != Status.RUNNING, "who runs holds a lease"
    assert job["desired"] == Desired.RUN or leased or status in (Status.PAUSED, Status.CANCELLED), "a wish has a reader"
    assert status != Status.PAUSED or job["desired"] == Desired.PAUSE
    assert job["woken_at"] is None or not leased


def _moves_told(one: Kept) -> list[Row]:
    return [event["data"] for event in one.events if "status" in (event["data"] or {})]


def _log_is_a_path_of_legal_moves(one: Kept) -> None:
    path = _moves_told(one)
    assert path[0] == {"status": Status.VALIDATING_FILES}
    for before, after in pairwise(path):
        assert after["from"] == before["status"]
        assert (after["from"], after["status"]) in MOVES
    assert path[-1]["status"] == one.job["status"]


def _an_end_is_told_once_and_last(one: Kept) -> None:
    ends = [move for move in _moves_told(one) if move["status"] in TERMINAL]
    assert len(ends) == one.ended
    if one.ended:
        assert one.events[-1]["data"] == ends[0], "nothing is told after the end"


def _no_row_is_of_an_attempt_to_come(one: Kept) -> None:
    told = [event["attempt"] for event in one.events]
    assert told == sorted(told), "an earlier attempt wrote behind a later one"
    assert all(row["attempt"] <= one.job["attempt"] for row in (*one.events, *one.checkpoints))
    said = Counter(event["once"] for event in one.events if event["once"])
    assert all(times == 1 for times in said.values())


def _a_model_is_there_if_and_only_if_the_job_succeeded(one: Kept) -> None:
    assert len(one.models) == (one.job["status"] == Status.SUCCEEDED)
    assert bool(one.models) == ("fine_tuned_model" in one.job["result"])


def _the_bytes_of_an_unfinished_job_are_kept(one: Kept) -> None:
    assert one.ended or one.training_file is None or one.training_file["path"]
