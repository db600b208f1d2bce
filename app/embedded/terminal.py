"""Ctrl-C on a terminal: it is for us alone, also when `make` has started us."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def foreground() -> Iterator[None]:
    """Be the foreground process group of the terminal inside: `make` would die of the Ctrl-C that we end well on.

    Nothing changes away from a terminal, in the background, in a pipeline, and where a shell gave us our own group.
    """
    group = os.getpgrp()
    if group == os.getpid() or not _in_front(group):
        yield
        return
    for number in (signal.SIGTTOU, signal.SIGTSTP):  # Ctrl-Z would stop us alone, and leave `make` waiting for ever
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    try:
        yield
    finally:
        with suppress(OSError):  # the group may be gone
            os.tcsetpgrp(0, group)


def _in_front(group: int) -> bool:
    """Whether the group has the terminal, and what we print goes there too, not to a pager that reads from it."""
    try:
        return sys.stdout.isatty() and os.tcgetpgrp(0) == group
    except OSError:
        return False
