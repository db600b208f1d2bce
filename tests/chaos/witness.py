"""What the trainers themselves saw: every step, by whom and when, from the file that they append to."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sight:
    """A line of the witness file; `at` is in seconds of CLOCK_MONOTONIC, `what` is start, step or end."""

    pid: int
    job: str
    attempt: int
    step: int
    what: str
    at: float


@dataclass(frozen=True)
class Life:
    """A trainer at work on a job: from its first line to its last."""

    job: str
    attempt: int
    pid: int
    first: float
    last: float


class Witness:
    """The file while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(mode=0o600)
        self.newest: dict[tuple[str, int], Sight] = {}
        """The newest line of each attempt at a job."""
        self.sights: list[Sight] = []
        self._read = 0

    def look(self) -> None:
        """Take in the whole lines that were added since the last look."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            sight = _parsed(line)
            self.sights.append(sight)
            self.newest[sight.job, sight.attempt] = sight


def _parsed(line: str) -> Sight:
    pid, job, attempt, step, what, at = line.split()
    return Sight(int(pid), job, int(attempt), int(step), what, float(at))


def lives(sights: Iterable[Sight]) -> list[Life]:
    """Every trainer's life with a job, in the order of its beginning."""
    times: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for sight in sights:
        times[sight.job, sight.attempt, sight.pid].append(sight.at)
    return sorted((Life(*who, min(at), max(at)) for who, at in times.items()), key=lambda life: life.first)


def overlaps(sights: Iterable[Sight]) -> Iterator[tuple[Life, Life]]:
    """Pairs of trainers that were alive at one moment with one job."""
    alive: dict[str, list[Life]] = defaultdict(list)
    for life in lives(sights):
        yield from ((other, life) for other in alive[life.job] if other.last > life.first)
        alive[life.job].append(life)


def steps(sights: Iterable[Sight]) -> dict[str, Counter[int]]:
    """How often each step of each job was taken."""
    taken: dict[str, Counter[int]] = defaultdict(Counter)
    for sight in sights:
        if sight.what == "step":
            taken[sight.job][sight.step] += 1
    return taken
