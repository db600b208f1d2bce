"""What the service bench found: seconds, steps, and SHA-256s of weights."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """The same job twice: create to succeeded, and the bare trainer's process from start to exit; in seconds."""

    service_seconds: float
    bare_seconds: float
    equal: bool
    """Whether both made the same adapter, byte for byte."""


@dataclass(frozen=True)
class Pause:
    """A pause and its resume, as the customer sees them.

    `pause_steps` counts from the last step told before the request, so it is the most that was taken after it.
    """

    pause_seconds: float
    pause_steps: int
    resume_seconds: float
    repeated_steps: int


@dataclass(frozen=True)
class Comparison:
    """Weights of an interrupted run beside those of the undisturbed one."""

    weights: str
    interruption: str
    sha256: str
    undisturbed_sha256: str

    @property
    def equal(self) -> bool:
        return self.sha256 == self.undisturbed_sha256


@dataclass(frozen=True)
class Results:
    """Everything that was measured on one stack."""

    pairs: list[Pair]
    pauses: list[Pause]
    comparisons: list[Comparison]

    @property
    def service_seconds(self) -> float:
        """The median of create to succeeded."""
        return statistics.median(pair.service_seconds for pair in self.pairs)

    @property
    def bare_seconds(self) -> float:
        """The median of the bare trainer."""
        return statistics.median(pair.bare_seconds for pair in self.pairs)

    @property
    def pause_seconds(self) -> float:
        """The median from the request to the process being gone."""
        return statistics.median(pause.pause_seconds for pause in self.pauses)

    @property
    def resume_seconds(self) -> float:
        """The median from the request to the next new step."""
        return statistics.median(pause.resume_seconds for pause in self.pauses)
