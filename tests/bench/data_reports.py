"""The first report on a large file: rows per second beside Python's own `json.loads` over the same lines, and memory.

Each is measured in a process of its own, in turns; `python -m tests.bench.data_reports NAME FILE` is that process.
Tokens are counted by another process of the service, and apart here.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from app.core import dataset
from app.embedded.processes import StackError
from app.embedded.stack import ROOT
from tests.bench.tables import Row, Say, at_least, at_most
from tests.services import scratch_directory

ROWS, ROW_BYTES, WRONG_LINE = 50_000, 1_000, 49_999
ROUNDS = 5
SPEED_GOAL, MEMORY_GOAL_MB = 0.3, 200.0
TEXTS = ROOT / "deploy" / "demo" / "train.jsonl"


@dataclass(frozen=True)
class Reading:
    """One pass over the file: seconds, by how many MB the process grew at most, and the lines with findings."""

    seconds: float
    grown_mb: float
    wrong_lines: list[int]


def run(say: Say = print) -> list[Row]:
    """Measure and return the rows of the table. Raises StackError when a process fails."""
    with scratch_directory() as scratch:
        path = scratch / "rows.jsonl"
        write(path)
        readings: dict[str, list[Reading]] = {name: [] for name in READERS}
        for _ in range(ROUNDS):
            for name, each in readings.items():
                each.append(_read_apart(name, path))
                say(f"  {name}: {ROWS / each[-1].seconds:,.0f} rows per second")
        return _rows(readings, path.stat().st_size)


def _rows(readings: dict[str, list[Reading]], size: int) -> list[Row]:
    rate = {name: ROWS / statistics.median(one.seconds for one in each) for name, each in readings.items()}
    grown = max(one.grown_mb for one in readings["report"])
    found = {tuple(one.wrong_lines) for one in readings["report"]}
    what = f"{ROWS:,} rows, {size / 1e6:.0f} MB"
    return [
        *(Row(f"{name}, {what}", f"{per_second:,.0f} rows per second") for name, per_second in rate.items()),
        at_least("report / json.loads", rate["report"] / rate["json.loads"], SPEED_GOAL, unit="times"),
        at_most("the report's process grew at most by", grown, MEMORY_GOAL_MB, unit="MB"),
        Row("lines with findings", str(sorted(found)), f"line {WRONG_LINE}", found == {(WRONG_LINE,)}, binding=True),
    ]


def write(path: Path) -> None:
    """A file of chats of about ROW_BYTES bytes in the demo's words, all different, one of them without an answer."""
    said = [json.loads(line)["messages"][0]["content"] for line in TEXTS.read_text("utf-8").splitlines()]
    words = cycle(" ".join(said).split())
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, ROWS + 1):
            roles = ["system", "user", "assistant" if number != WRONG_LINE else "user"]
            messages = [{"role": role, "content": _text(number, words)} for role in roles]
            file.write(json.dumps({"messages": messages}) + "\n")


def _text(number: int, words: "cycle[str]") -> str:
    return f"{number} {' '.join(islice(words, 52))}"


def _json_loads(path: Path) -> list[int]:
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
    return []


def _report(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [finding.line for finding in dataset.check(file).findings]


READERS: dict[str, Callable[[Path], list[int]]] = {"json.loads": _json_loads, "report": _report}


def _read_apart(name: str, path: Path) -> Reading:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.data_reports", name, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    if ended.returncode != 0:
        raise StackError(f"{name} ended with {ended.returncode}: {ended.stderr[-500:]}")
    return Reading(**json.loads(ended.stdout))


def _read_here(name: str, path: Path) -> Reading:
    before = _peak_mb()
    began = time.perf_counter()
    wrong_lines = READERS[name](path)
    return Reading(time.perf_counter() - began, _peak_mb() - before, wrong_lines)


def _peak_mb() -> float:
    """The most that this program has held; `ru_maxrss` would count the process that started it."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(asdict(_read_here(sys.argv[1], Path(sys.argv[2])))))
