"""The official client's own tests: fetched when they are run, and never kept among our files."""

import subprocess
import sys
import tarfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.embedded.processes import StackError
from app.embedded.stack import ROOT

CLIENT = "openai"
PATHS = ("fine_tuning", "test_files.py", "test_uploads.py", "uploads", "test_models.py")
SECONDS = 1200


@dataclass(frozen=True)
class Result:
    """How one test ended: `passed`, `failed` or `skipped`, and what it said."""

    test: str
    outcome: str
    text: str


def requirements() -> list[str]:
    """What the suite needs to run, the client first, each with its version."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    return sorted(groups["conformance"], key=lambda line: not line.startswith(f"{CLIENT}=="))


@dataclass(frozen=True)
class Suite:
    """The unpacked source distribution of the client, and an interpreter that has what its tests need."""

    source: Path
    python: Path

    def run(self, base_url: str, report: Path, environment: Mapping[str, str]) -> list[Result]:
        """Run the tests against a server, in as many processes as the machine has cores.

        Raises StackError when they could not be run to the end.
        """
        paths = [f"tests/api_resources/{path}" for path in PATHS]
        options = ["-n", "auto", "-q", "--timeout", "60", "--junitxml", str(report), "-o", "addopts=--tb=short"]
        ended = subprocess.run(
            [self.python, "-m", "pytest", *options, *paths],
            cwd=self.source,
            env={**environment, "TEST_API_BASE_URL": base_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if ended.returncode not in (0, 1):
            raise StackError(f"the suite ended with status {ended.returncode}:\n{ended.stdout[-4000:]}")
        return read(report)


def read(report: Path) -> list[Result]:
    """The results in a JUnit report, by the names of the tests."""
    found = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        test = f"{case.get('classname')}::{case.get('name')}"
        ends = {end.tag: end for end in case}
        if broken := [ends[tag] for tag in ("failure", "error") if tag in ends]:
            found.append(Result(test, "failed", f"{broken[0].get('message')}\n{broken[0].text}"))
        else:
            found.append(Result(test, "skipped" if "skipped" in ends else "passed", ""))
    return sorted(found, key=lambda result: result.test)


def fetch(folder: Path) -> Suite:
    """Download and install what is not in `folder` yet.

    Raises StackError when the package index does not give it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = requirements()
    python = _environment(folder / "venv", wanted)
    client = wanted[0]
    archive = folder / f"{client.replace('==', '-')}.tar.gz"
    if not archive.exists():
        _run(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", CLIENT, "--dest", str(folder), client)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return Suite(folder / archive.name.removesuffix(".tar.gz"), python)


def _environment(folder: Path, wanted: list[str]) -> Path:
    """The interpreter of a virtual environment that has exactly these versions; made anew when they change."""
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        _run(Path(sys.executable), "-m", "venv", "--clear", str(folder))
        _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted)
        stamp.write_text("\n".join(wanted))
    return python


def _run(*command: str | Path) -> None:
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode:
        raise StackError(f"{' '.join(map(str, command[1:4]))} ended with status {ended.returncode}:\n{ended.stdout}")
