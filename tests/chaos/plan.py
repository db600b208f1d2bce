"""How much chaos: seed, duration, lease, and in which order the faults come."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHIPPED_LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """A run of chaos; the same seed gives the same faults in the same order, and the same users."""

    seed: int
    seconds: float  # at least; every fault of the first round is inflicted, however long it takes
    lease_seconds: float
    faults: Sequence[str]  # the first round, each kind as often as it is wanted
    kinds: int = 4  # of jobs
    unfinished: int = 6  # jobs that the stream keeps unfinished
    freeze_seconds: float = 30.0
    patience_seconds: float = 120.0  # for what a fault waits for
    drain_seconds: float = 300.0  # for what is unfinished when the last fault is over
    least_margin: float = 10.0  # seconds that processes may need to start, however short the lease
    tampered: int = 12  # messages that a phase of doubled and dropped ones lasts

    @property
    def scale(self) -> float:
        """The lease as a share of the shipped one."""
        return self.lease_seconds / SHIPPED_LEASE_SECONDS

    def margin(self, seconds: float) -> float:
        """What is allowed at the shipped lease, shrunk with the lease; processes need some seconds to start, though."""
        return max(seconds * self.scale, self.least_margin)

    @property
    def settings(self) -> dict[str, str]:
        """The service's settings: those that are measured against the lease shrink with it."""
        return {
            "LEASE_SECONDS": f"{self.lease_seconds}",
            "HEARTBEAT_SECONDS": f"{min(1.0, self.lease_seconds / 10)}",
            "CLOCK_SECONDS": f"{max(0.25, 5 * self.scale)}",
            "RETRY_SECONDS": f"{10 * self.scale}",
            "FORGET_SECONDS": f"{60 * self.scale}",
            "CHECKPOINT_SECONDS": "0.5",
            "DISPATCH_AHEAD": "2",
            "TRAINER_THREADS": "1",
            "ANSWERS": "2",
        }

    def schedule(self) -> Iterator[tuple[int, str]]:
        """The faults without end, with the number of their round, from 1: each round shuffled anew."""
        chance = random.Random(self.seed)
        round_number = 0
        while True:
            round_number += 1
            for fault in chance.sample(self.faults, len(self.faults)):
                yield round_number, fault
