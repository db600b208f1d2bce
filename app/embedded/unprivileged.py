"""PostgreSQL refuses to run as root: which user runs it then, and where that user can reach its files."""

import os
import pwd
import sys
import tempfile
from pathlib import Path

from app.embedded.processes import StackError

USER = "nobody"
SHELTER = Path("/var/lib/tuneyard")


def server_user() -> str:
    """Empty when we are an ordinary user ourselves."""
    if os.geteuid() != 0:
        return ""
    return account(USER).pw_name


def account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise StackError(f"PostgreSQL may not run as root and there is no user {user!r}: run as another user") from None


def reachable(path: Path, user: str) -> bool:
    """Whether the user may enter the directory and all above it, by owner and mode."""
    if not user:
        return True
    uid = account(user).pw_uid
    return all(_may_enter(directory.stat(), uid) for directory in (path.resolve(), *path.resolve().parents))


def _may_enter(status: os.stat_result, uid: int) -> bool:
    return bool(status.st_mode & (0o100 if status.st_uid == uid else 0o001))


def shelter(directory: Path | None, user: str) -> Path:
    """The server's home: `postgres` in the data directory or, where the user cannot get there, a place it links to.

    Without a directory, the place for what all stacks of this machine share.
    """
    if directory is not None and reachable(directory, user):
        home = directory / "postgres"
        home.mkdir(mode=0o700, exist_ok=True)
        return home.resolve()
    SHELTER.mkdir(parents=True, exist_ok=True)
    SHELTER.chmod(0o755)  # whatever the umask
    if directory is None:
        return SHELTER
    link = directory / "postgres"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(tempfile.mkdtemp(prefix="stack-", dir=SHELTER))
        print(f"PostgreSQL's files lie in {link.resolve()}: user {user} may not enter {directory}", file=sys.stderr)
    return link.resolve()
