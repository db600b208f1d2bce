"""What a fault left behind: how long the recovery took, and the trainer that it orphaned."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Orphan:
    """A trainer whose supervisor was killed or stopped: when it was gone (CLOCK_MONOTONIC), when the lease lapsed."""

    gone_at: float
    lapsed_at: datetime


@dataclass(frozen=True)
class Recovery:
    """Seconds from the fault, or its end where it lasts, until its traces were gone."""

    seconds: float
    orphan: Orphan | None = None
