"""A mutant on trial: a copy of the code without one guard, and the tests that must notice."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.guards import Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("app", "workers", "tests", "deploy", "pyproject.toml")
PASSED, FAILED = 0, 1
LIMIT_SECONDS = 1800
FAILURE = re.compile(r"^FAILED (.+?)(?: - (.*))?$", re.MULTILINE)


class Stale(Exception):
    """A mutant no longer fits the code: what it replaces is not there, or more than once."""


@dataclass(frozen=True)
class Run:
    """How pytest ended, the first test that failed, with its message, and everything that was printed."""

    exit_code: int
    failed: str
    output: str
    seconds: float


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """The mutant's file without the guard. Raises Stale."""
    text = (root / mutant.path).read_text("utf-8")
    for old, new in mutant.changes.items():
        if text.count(old) != 1:
            raise Stale(f"{mutant.guard}: {mutant.path} holds {text.count(old)} times {old!r}")
        text = text.replace(old, new)
    return text


@contextmanager
def copy(mutant: Mutant | None) -> Iterator[Path]:
    """A directory with a copy of the code, without the mutant's guard. Raises Stale."""
    with tempfile.TemporaryDirectory(prefix="tuneyard-mutant-") as directory:
        for name in COPIED:
            place = ROOT / name
            if place.is_dir():
                shutil.copytree(place, Path(directory, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(place, directory)
        if mutant is not None:
            Path(directory, mutant.path).write_text(mutated(mutant), "utf-8")
        yield Path(directory)


def run(directory: Path, tests: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run tests of a copy until the first fails."""
    options = ("-x", "-q", "-rf", "--tb=short", "--color=no", "-p", "no:cacheprovider")
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=directory,
        env={**os.environ, **environment, "COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    failure = FAILURE.search(ended.stdout)
    failed = " - ".join(filter(None, failure.groups())) if failure else ""
    return Run(ended.returncode, failed, ended.stdout, time.monotonic() - began)


def caught(mutant: Mutant, run: Run) -> bool:
    """Whether a test failed that calls the guard by its word."""
    return run.exit_code == FAILED and mutant.word in run.failed.replace("_", " ")


def try_out(mutant: Mutant, environment: Mapping[str, str]) -> Run:
    """The mutant's own test, on a copy without the guard. Raises Stale."""
    with copy(mutant) as directory:
        return run(directory, [mutant.test], environment)
