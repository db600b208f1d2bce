"""Estimates from what earlier jobs took: pure arithmetic, each answer with a range and what it rests on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.job import Crowd, Run

LEAST_SPREAD = 0.2
"""Share by which a duration may be off however well the earlier ones agree: machines are shared."""

LEAST_OF_START = 0.5
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]B)")


@dataclass(frozen=True)
class Range:
    """An amount that is expected, and between what it may lie."""

    expected: float
    low: float
    high: float
    basis: str

    def times(self, factor: float) -> "Range":
        """The same estimate in another unit."""
        return Range(self.expected * factor, self.low * factor, self.high * factor, self.basis)


def duration(runs: Sequence[Run], tokens: int) -> Range | None:
    """Seconds of training for so many tokens, all epochs together; None before the first job was timed.

    A start-up time and a time per token are fitted to the earlier runs; how far these lie from the fit is the range.
    """
    timed = [run for run in runs if run.tokens > 0]
    if not timed:
        return None
    start, per_token = _fit(timed)
    expected = start + per_token * tokens
    shares = [run.seconds / (start + per_token * run.tokens) for run in timed]
    low, high = min(min(shares), 1 - LEAST_SPREAD), max(max(shares), 1 + LEAST_SPREAD)
    return Range(expected, expected * low, expected * high, _like_this(len(timed)))


def _like_this(count: int) -> str:
    return f"{count} earlier {'job' if count == 1 else 'jobs'} of this model and training type"


def _fit(runs: Sequence[Run]) -> tuple[float, float]:
    """Seconds of start-up, and seconds per token, by least squares; neither is ever negative."""
    count = len(runs)
    tokens, seconds = sum(run.tokens for run in runs) / count, sum(run.seconds for run in runs) / count
    spread = sum((run.tokens - tokens) ** 2 for run in runs)
    together = sum((run.tokens - tokens) * (run.seconds - seconds) for run in runs)
    per_token = together / spread if spread else 0.0
    start = seconds - per_token * tokens
    if per_token <= 0 or start < 0:
        return 0.0, seconds / tokens
    return start, per_token


def memory(runs: Sequence[Run], words: Mapping[str, str], training_type: str) -> tuple[int, str] | None:
    """Bytes that the trainer will need, and what says so: the most of earlier jobs, else the catalogue's figure."""
    measured = [run.memory_bytes for run in runs if run.memory_bytes]
    if measured:
        return max(measured), f"the most that {_like_this(len(measured))} needed"
    size = _SIZE.match(words.get(training_type, ""))
    return None if size is None else (int(float(size[1]) * _UNITS[size[2]]), "the catalogue's figure")


def wait(crowd: Crowd, *, slots: int) -> Range | None:
    """Seconds until a new job starts; None when nothing says how long the jobs before it will take.

    At best the organization's own jobs come first alone, at worst all that wait.
    """
    at_work = min(crowd.running, slots) if slots else crowd.running
    if crowd.waiting == 0 and at_work < slots:
        return Range(0.0, 0.0, 0.0, "a trainer is free")
    if crowd.job_seconds is None:
        return None
    turn = crowd.job_seconds / max(1, slots, crowd.running)
    low, expected, high = (
        turn * (ahead + LEAST_OF_START) for ahead in (crowd.waiting_own, crowd.waiting, crowd.waiting)
    )
    return Range(expected, low, high + turn, f"{crowd.waiting} jobs waiting, {crowd.running} running")


def cost(seconds: Range | None, tokens: int, *, per_hour: float, per_million_tokens: float) -> Range | None:
    """What a job costs; None when no price is set, or when the hours that have one are not known."""
    by_token = tokens / 1e6 * per_million_tokens
    if not per_hour:
        return Range(by_token, by_token, by_token, "tokens") if per_million_tokens else None
    if seconds is None:
        return None
    hours = seconds.times(per_hour / 3600)
    return Range(hours.expected + by_token, hours.low + by_token, hours.high + by_token, "trainer hours and tokens")
