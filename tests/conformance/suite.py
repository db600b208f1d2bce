"""The official clients' own tests: fetched when they are run, and never kept among our files."""

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

SECONDS = 1200
UNSKIPPED = {"RUN_MOCK_SERVER_TESTS": "1"}
"""One client's tests are all marked to be skipped, unless its environment says that there is a server."""


@dataclass(frozen=True)
class Client:
    """A client: its package, the tests that concern us, and where its base URL ends."""

    package: str
    paths: tuple[str, ...]
    base_path: str = ""


CLIENTS = (
    Client("openai", ("fine_tuning", "test_files.py", "test_uploads.py", "uploads", "test_models.py"), "/v1"),
    Client(
        "fireworks-ai",
        (
            "test_datasets.py",
            "test_models.py",
            "test_supervised_fine_tuning_jobs.py",
            "test_dpo_jobs.py",
            "test_reinforcement_fine_tuning_jobs.py",
        ),
    ),
)


@dataclass(frozen=True)
class Result:
    """How one test ended: `passed`, `failed` or `skipped`, and what it said."""

    test: str
    outcome: str
    text: str


def requirements() -> list[str]:
    """What the suites need to run, the clients included, each with its version."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    return list(groups["conformance"])


@dataclass(frozen=True)
class Suite:
    """The unpacked source distribution of a client, and an interpreter that has what its tests need."""

    client: Client
    source: Path
    python: Path

    def run(self, server_url: str, report: Path, environment: Mapping[str, str]) -> list[Result]:
        """Run the tests against a server, in as many processes as the machine has cores.

        Raises StackError when they could not be run to the end.
        """
        paths = [f"tests/api_resources/{path}" for path in self.client.paths]
        options = ["-n", "auto", "-q", "--timeout", "60", "--junitxml", str(report), "-o", "addopts=--tb=short"]
        ended = subprocess.run(
            [self.python, "-m", "pytest", *options, *paths],
            cwd=self.source,
            env={**environment, **UNSKIPPED, "TEST_API_BASE_URL": server_url + self.client.base_path},
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


def fetch(folder: Path) -> list[Suite]:
    """Download and install what is not in `folder` yet.

    Raises StackError when the package index does not give it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = requirements()
    python = _environment(folder / "venv", wanted)
    pins = {line.partition("==")[0]: line for line in wanted}
    return [Suite(client, _source(folder, python, pins[client.package]), python) for client in CLIENTS]


def _source(folder: Path, python: Path, pin: str) -> Path:
    """Where the source distribution of a client is unpacked."""
    package, _, version = pin.partition("==")
    archive = folder / f"{package.replace('-', '_')}-{version}.tar.gz"
    if not archive.exists():
        _run(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", package, "--dest", str(folder), pin)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


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
