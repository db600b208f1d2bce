"""A trainer process: its own session, an allow-listed environment, JSON lines in and out."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from workers.backends import memory

ALLOWED = (
    "CUDA_VISIBLE_DEVICES",
    "GOMP_SPINCOUNT",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "NO_PROXY",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_WAIT_POLICY",
    "PATH",
    "PYTHONPATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TUNEYARD_WITNESS",
    "TZ",
    "VIRTUAL_ENV",
)
"""What a trainer may see of the worker's environment: no database, broker, storage or encryption secrets."""

LONGEST_LINE = 4 << 20
LAST_WORDS_BYTES = 2000


def environment(environ: Mapping[str, str], *, threads: int) -> dict[str, str]:
    """The environment of a trainer that may use this many CPU threads."""
    allowed = {name: environ[name] for name in ALLOWED if name in environ}
    return {**allowed, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


class Child:
    """A running `python -m workers.trainer`. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, arguments: Sequence[str], *, threads: int) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.trainer", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment(os.environ, threads=threads),
            start_new_session=True,
            bufsize=0,
        )
        memory.prefer(self._process.pid)
        self._kills_before = memory.kills()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._rest = b""
        self.ended = False
        """Whether the output was read to its end."""

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def tell(self, line: Mapping[str, Any]) -> None:
        """Write one JSON line to its stdin; a process that reads nothing gets no more than its pipe holds.

        Raises BrokenPipeError when it does not listen any more.
        """
        with suppress(BlockingIOError):
            os.write(self._stdin.fileno(), json.dumps(line).encode() + b"\n")

    def read(self, *, seconds: float, most: int) -> list[dict[str, Any]]:
        """The lines of the next `seconds`, fewer when there are `most` of them or the output ends."""
        lines: list[dict[str, Any]] = []
        deadline = time.monotonic() + seconds
        while len(lines) < most and not self.ended:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                break
            lines += self._available()
        return lines

    def _available(self) -> list[dict[str, Any]]:
        chunk = os.read(self._stdout.fileno(), 1 << 16)
        self.ended = not chunk
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:LONGEST_LINE]
        return [parsed for line in whole if (parsed := _parse(line)) is not None]

    def terminate(self) -> None:
        """Ask the process and all it started to finish their step and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and all it started now, and release what it held."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.ended = True
        self._selector.close()
        self._stdin.close()
        self._stdout.close()
        self._stderr.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def wait(self) -> int:
        """The exit code, negative for a signal."""
        return self._process.wait()

    def killed_for_memory(self) -> bool:
        """Whether it ended by a SIGKILL while the kernel killed somebody for memory."""
        return self._process.returncode == -signal.SIGKILL and memory.kills() > self._kills_before

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - LAST_WORDS_BYTES))
        return self._stderr.read().decode(errors="replace").strip()


def _parse(line: bytes) -> dict[str, Any] | None:
    """A trainer's line; anything else that a library printed is passed over."""
    with suppress(ValueError):
        parsed = json.loads(line)
        if isinstance(parsed, dict) and isinstance(parsed.get("type"), str):
            return parsed
    return None
