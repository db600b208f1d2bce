"""What the embedded stack keeps secret, in files that only their owner may read: passwords it made for itself, URLs."""

import os
import secrets
from pathlib import Path


def keep(path: Path, secret: str = "") -> str:
    """The secret kept in the file; a missing file is written first, with the given or a random one."""
    if not path.exists():
        write(path, secret or secrets.token_urlsafe(24))
    return path.read_text().strip()


def write(path: Path, text: str) -> None:
    """Write the file anew, at once with all of the text."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
