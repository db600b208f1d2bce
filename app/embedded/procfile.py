"""Reads a Procfile: `name: command` lines, each a single command in shell syntax."""

import re
from pathlib import Path

from app.embedded.processes import StackError

LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>.+)")
RELEASE = "release"
CREDENTIALS = {"flower": "FLOWER_BASIC_AUTH"}  # a process that is left out until its setting is given


def read(path: Path) -> dict[str, str]:
    """The commands by name, in the order of the file.

    Raises StackError when a line is no process.
    """
    commands = {}
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise StackError(f"{path.name}: not a process: {line!r}")
        commands[match["name"]] = match["command"]
    return commands
