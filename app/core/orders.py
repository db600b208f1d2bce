"""What a stage is told while it works: go on, stop at the next good place, or let go at once."""

from dataclasses import dataclass
from enum import StrEnum


class Signal(StrEnum):
    """What a stage must do now."""

    GO = "go"
    STOP = "stop"
    """Finish the step, publish a checkpoint, let go: pause or drain."""
    KILL = "kill"
    """Let go at once: the job was cancelled, or it is another attempt's by now."""


@dataclass(frozen=True)
class Order:
    """A signal, and the CLOCK_MONOTONIC time until which the stage may live without a further order."""

    signal: Signal
    until: float
