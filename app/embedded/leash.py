"""Becomes a command that cannot outlive its parent, as another user if asked: `python leash.py PARENT USER COMMAND …`.

A program of its own, so that nothing but exec happens between fork and the command in a parent that has threads.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(user: str) -> None:
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; elsewhere than on Linux there is no such thing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("leash: the parent is gone")


def main(parent: str, user: str, *command: str) -> None:
    if user:
        become(user)  # first: a change of user drops the parent-death signal
    die_with(int(parent))
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
