"""The real trainer process, driven as a supervisor drives it."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


class Trainer:
    """A trainer process; its lines are read one at a time."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers.trainer", *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
        )  # fmt: skip

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *unused: object) -> None:
        self.process.kill()
        self.process.communicate()

    def tell(self, **line: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def lease(self, seconds: float = 600) -> None:
        self.tell(until=time.monotonic() + seconds)

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, kind: str, step: int = 0) -> dict[str, Any]:
        """The next line of this kind at this step or later. Fails when the process ends before."""
        for line in self.lines():
            if line["type"] == kind and line.get("step", step) >= step:
                return line
        raise AssertionError(f"the trainer ended with {self.process.wait()} before {kind}: {self.errors()}")

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()[-2000:]


def train(directory: Path) -> list[dict[str, Any]]:
    """Run the job to its end by hand and return its lines."""
    with Trainer(directory) as trainer:
        lines = list(trainer.lines())
        assert trainer.process.wait(60) == 0, (lines[-1:], trainer.errors())
    return lines


def hashes(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}
