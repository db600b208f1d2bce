"""`python -m tests.bench`: the figures of the README, measured here; exit status 1 when what must be so is not.

A missed speed goal does not fail the bench: the machine may be busy. A part's name as argument runs it alone; those
that take long run only so.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

from app.embedded.processes import StackError, interrupt_on_signals
from tests.bench import (
    api,
    data_reports,
    dry_runs,
    engine_table,
    estimates,
    fairness,
    latency,
    machine,
    many,
    scale,
    service_table,
)
from tests.bench.tables import Row, Say, Tables, show

PARTS: dict[str, Callable[[Say], Tables]] = {
    "engine": engine_table.tables,
    "service": service_table.tables,
    "estimates": lambda say: {"estimated_finish against the truth": estimates.run(say)},
    "dry_runs": lambda say: {"A dry run's duration against the truth": dry_runs.run(say)},
    "reports": lambda say: {"The first report on a large file": data_reports.run(say)},
    "scale": lambda say: {"Many rows": scale.run()},
    "api": lambda say: {"API, 8 clients": api.run()},
    "fairness": lambda say: {"Two organizations": fairness.run(say)},
    "latency": lambda say: {"Waits, settings as shipped": latency.run(say)},
    "many": lambda say: {"Many jobs": many.run()},
}
BY_NAME_ALONE = ("dry_runs", "fairness", "latency", "many")
UNLESS_GIVEN = [name for name in PARTS if name not in BY_NAME_ALONE]


def measure(parts: Sequence[str]) -> list[Row]:
    """Run the parts, show their tables and return all rows."""
    tables: Tables = {}
    for part in parts:
        print(f"\nMeasuring: {part}", flush=True)
        tables |= PARTS[part](lambda line: print(line, flush=True))
    for title, rows in tables.items():
        show(title, rows)
    return [row for rows in tables.values() for row in rows]


def main() -> int:
    """The exit status: 0, 1 when weights or losses differ or a part could not be measured, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=PARTS, help=f"what to measure; {', '.join(UNLESS_GIVEN)} unless given"
    )
    asked = parser.parse_args().part
    parts = [asked] if asked else UNLESS_GIVEN
    interrupt_on_signals()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # models written by the engine's part draw bars
    print("\n".join(machine.describe()), flush=True)
    began = time.monotonic()
    try:
        rows = measure(parts)
    except StackError as error:
        print(f"tuneyard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"\nTook {(time.monotonic() - began) / 60:.1f} minutes; load at the end {machine.load()}")
    return int(any(row.broken for row in rows))


if __name__ == "__main__":
    sys.exit(main())
