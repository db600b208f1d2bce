"""Limits for a chat template that came with a job: text that nobody here has read.

Jinja's sandbox keeps it from attributes and from changing what it is shown, not from looping or growing. Each row has
its own limits: an exception where Python gets to raise one, else the system ends the process (SIGXCPU).
"""

import json
import math
import mmap
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from workers.trainer.failures import Failure
from workers.trainer.spec import OwnTemplate

SPARE_TEXT, TIMES_TEXT = 300_000, 10  # a conversation may become so many times its own characters, and these besides
MESSAGE_CHARACTERS = 400
_STATM = Path("/proc/self/statm")
_AGAIN_SECONDS = 0.5  # an exception that was raised inside a finalizer is lost, so another follows
_TO_RAISE_SECONDS = 1  # for the exception, before the system ends the process


class _TooLong(BaseException):
    """Not an Exception: nothing that a template calls may catch it."""


class _Exceeded(Exception):
    """The message says what was too much, or no text."""


@contextmanager
def confined(own: OwnTemplate | None, row: str) -> Iterator[None]:
    """A block in which a template renders a row, which the message of a failure names. None: the model's own, trusted.

    Raises Failure `chat_template_invalid` for what takes too long, too much memory, or grows too long.
    """
    if own is None:
        yield
        return
    try:
        with timed(own, row), _memory(own.memory_mb << 20):
            yield
    except MemoryError:
        raise invalid(f"it needed more than {own.memory_mb} MB for {row}") from None
    except RecursionError:
        raise invalid(f"it calls itself without end, or is nested too deeply, for {row}") from None
    except _Exceeded as error:
        raise invalid(f"it writes {error} for {row}") from None


@contextmanager
def timed(own: OwnTemplate | None, rows: str) -> Iterator[None]:
    """A block that works on what a template wrote for these rows. Raises Failure `chat_template_invalid`."""
    if own is None:
        yield
        return
    own.marker.write_text(rows, "utf-8")
    try:
        with _time(own.seconds):
            yield
    except _TooLong:
        raise invalid(f"it took longer than {own.seconds:g} s for {rows}") from None
    own.marker.write_text("", "utf-8")


def bounded(text: str, shown: Any) -> str:
    """The text that a template wrote of what it was shown; too long a one, or none, ends the `confined` around it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Exceeded("half a surrogate pair, which is no text,") from None
    most = SPARE_TEXT + TIMES_TEXT * len(json.dumps(shown))
    if len(text) > most:
        raise _Exceeded(f"{len(text)} characters, and may write {most},")
    return text


def invalid(why: str) -> Failure:
    """The failure of a job whose own template cannot be used."""
    message = f"The job's chat template cannot be used: {legible(why).rstrip('.')}."
    return Failure("chat_template_invalid", message, param="chat_template")


def legible(text: str) -> str:
    """What a template said, short and without what no database takes."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MESSAGE_CHARACTERS])


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    """CPU time, so that a busy machine fails no job."""
    previous = signal.signal(signal.SIGPROF, _over)
    most = math.ceil(time.process_time() + seconds) + _TO_RAISE_SECONDS
    try:
        with _limit(resource.RLIMIT_CORE, 0), _limit(resource.RLIMIT_CPU, most):
            signal.setitimer(signal.ITIMER_PROF, seconds, _AGAIN_SECONDS)
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
    finally:
        signal.signal(signal.SIGPROF, previous)


def _over(number: int, frame: FrameType | None) -> None:
    raise _TooLong


@contextmanager
def _memory(most: int) -> Iterator[None]:
    """At most this many bytes beside what the process has; elsewhere than on Linux there is no such limit."""
    held = None
    with suppress(OSError):
        held = int(_STATM.read_text().split()[0]) * mmap.PAGESIZE
    if held is None:
        yield
        return
    with _limit(resource.RLIMIT_AS, held + most):
        yield


@contextmanager
def _limit(kind: int, most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (min(each for each in (most, soft, hard) if each != resource.RLIM_INFINITY), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
