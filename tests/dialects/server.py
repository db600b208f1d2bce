"""The application as production runs it: gunicorn in a process of its own, for the time of a block."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.embedded.processes import free_port

READY_SECONDS = 60


@dataclass
class Server:
    """A server that answers; `url` is without the `/v1`."""

    url: str
    port: int
    process: subprocess.Popen[bytes]

    def peak_memory_kb(self) -> int:
        """The most memory that the server's worker has held so far."""
        [worker] = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        [line] = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1])


@contextmanager
def serving(
    folder: Path, *, workers: int = 1, threads: int = 4, app: str = "app.api", **environment: str
) -> Iterator[Server]:
    """Serve with the settings that are in force, and these; the log goes to `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", f"{app}:create_app()", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--workers", str(workers), "--threads", str(threads)]
    command += ["--no-control-socket"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    server = Server(f"http://127.0.0.1:{port}", port, process)
    try:
        _await_answer(server)
        yield server
    finally:
        process.terminate()
        assert process.wait(30) == 0


def _await_answer(server: Server) -> Mapping[str, str]:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/healthz", timeout=5) as answer:
                return dict(answer.headers)
        except OSError:
            assert server.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
