"""Passwords that the embedded stack makes for itself, each kept in a file that only its owner may read."""

import os
import secrets
from pathlib import Path


def keep(path: Path, secret: str = "") -> str:
    """The secret kept in the file; a missing file is written first, with the given or a random one."""
    if not path.exists():
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret or secrets.token_urlsafe(24))
        fresh.rename(path)
    return path.read_text().strip()
