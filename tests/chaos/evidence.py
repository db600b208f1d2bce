"""Everything that the verdict is drawn from: witness, tables, weights, and what owners and faults saw."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.chaos.customers import Order
from tests.chaos.recovery import Recovery
from tests.chaos.tables import Tables
from tests.chaos.witness import Sight

EVENTS = """
select job_id, attempt, created_at, case when type = 'message' then data end as data,
       type = 'message' and coalesce(data ? 'losses', false) as lost
  from job_events order by id
"""


@dataclass(frozen=True)
class Struck:
    """A fault that was inflicted, from `began` on (CLOCK_MONOTONIC); `failure` says why its traces did not go."""

    fault: str
    recovery: Recovery | None
    limit_seconds: float
    failure: str = ""
    began: float = 0.0


@dataclass(frozen=True)
class Timepiece:
    """How far the wall clock, which Postgres uses, is ahead of CLOCK_MONOTONIC, in seconds; noted twice."""

    early: float
    late: float

    @property
    def slack(self) -> float:
        """How much the clocks moved against each other meanwhile."""
        return abs(self.late - self.early)

    def monotonic(self, wall: datetime) -> float:
        return wall.timestamp() - (self.early + self.late) / 2


def clocks_apart() -> float:
    """The wall clock minus CLOCK_MONOTONIC, in seconds."""
    return time.time() - time.monotonic()


@dataclass(frozen=True)
class Evidence:
    """What is known at the end. Weights are SHA-256, by job and by kind of job."""

    orders: Sequence[Order]
    jobs: Mapping[str, dict[str, Any]]
    events: Mapping[str, list[dict[str, Any]]]
    models: Mapping[str, list[dict[str, Any]]]
    sights: Sequence[Sight]
    weights: Mapping[str, str]
    undisturbed: Mapping[str, str]
    clock: Timepiece
    struck: Sequence[Struck] = ()
    not_possible: Sequence[str] = ()
    dispatch_ahead: int = 0
    most_woken: int = 0
    longest_queue: int = 0
    sent_twice: frozenset[str] = field(default_factory=frozenset)
    messages_tampered: int = 0
    requests_repeated: int = 0


def jobs(tables: Tables) -> dict[str, dict[str, Any]]:
    """All rows of jobs, by id."""
    return {row["id"]: row for row in tables.rows("select * from jobs")}


def events(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """The events of each job in order, without the numbers of metrics; `lost` are those that tell of a lost worker."""
    return _by_job(tables.rows(EVENTS))


def models(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """The published models of each job."""
    return _by_job(tables.rows("select * from models"))


def _by_job(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append(row)
    return found
