"""`python -m tests.bench`: every figure of the README, measured here; exit status 1 when what must be equal is not.

A missed speed goal does not fail the bench: the machine may be busy. A part's name as argument runs it alone; `latency`
runs only so.
"""

import argparse
import os
import sys
import time
from typing import Any

from app.embedded.processes import StackError, interrupt_on_signals
from tests.bench import engine, fairness, latency, machine, scale, service
from tests.bench.results import Pause, Results
from tests.bench.tables import Row, at_least, at_most, show

PARTS = ["engine", "service", "scale", "fairness"]
BY_NAME = ["latency"]
SERVICE_GOAL = 1.10
SERVICE_EXTRA_SECONDS = 3.0


def engine_rows(measured: dict[str, Any]) -> list[Row]:
    """Speed and losses beside TRL's, and how long a run takes to begin."""
    rows = []
    for name, figures in measured["engines"].items():
        ours, theirs = figures["tuneyard_tokens_per_cpu_second"], figures["trl_tokens_per_cpu_second"]
        rows.append(Row(f"{name}: Tuneyard", f"{ours:,.0f} tokens per CPU second"))
        rows.append(Row(f"{name}: TRL", f"{theirs:,.0f} tokens per CPU second"))
        what, ratio = f"{name}: Tuneyard / TRL", figures["ratio"]
        rows.append(
            at_least(what, ratio, engine.ENGINE_GOAL, unit="times")
            if name.startswith("full")
            else Row(what, f"{ratio:.2f} times")
        )
        rows.append(_losses(name, figures))
    start = measured["start_up"]
    rows.append(Row("job directory to first step: cold start", f"{start['cold_seconds']:.2f} s"))
    rows.append(
        Row("job directory to first step: standby, to its beginning", f"{start['standby_prepared_seconds']:.2f} s")
    )
    goal = start["goal_standby_seconds"]
    rows.append(at_most("job directory to first step: standby, to its end", start["standby_seconds"], goal, unit="s"))
    return rows


def _losses(name: str, figures: dict[str, Any]) -> Row:
    """How far the losses are apart, in nats per token; where fp32 is asked to agree, it must."""
    what = f"{name}: largest difference of the first {figures['losses']} losses"
    difference = figures["largest_loss_difference"]
    figure = f"{difference:.1e} nats per token"
    if "float32" not in name:
        return Row(what, figure)
    return Row(what, figure, f"at most {engine.LOSS_TOLERANCE:.0e}", difference <= engine.LOSS_TOLERANCE, binding=True)


def service_rows(measured: Results) -> list[Row]:
    """The service beside the bare trainer, and what an interruption costs."""
    rows = [
        Row(f"pair {number}: service / bare trainer", f"{pair.service_seconds:.1f} s / {pair.bare_seconds:.1f} s")
        for number, pair in enumerate(measured.pairs, start=1)
    ]
    served, bare = measured.service_seconds, measured.bare_seconds
    rows.append(Row("median: service / bare trainer", f"{served:.1f} s / {bare:.1f} s"))
    what = f"(service - {SERVICE_EXTRA_SECONDS:.0f} s) / bare trainer"
    rows.append(at_most(what, (served - SERVICE_EXTRA_SECONDS) / bare, SERVICE_GOAL, unit="times"))
    for number, pause in enumerate(measured.pauses, start=1):
        rows += _pause(f"pause {number}", pause)
    rows.append(Row("median: request to process gone", f"{measured.pause_seconds:.2f} s"))
    rows.append(Row("median: resume to next step", f"{measured.resume_seconds:.2f} s"))
    return rows


def _pause(name: str, pause: Pause) -> list[Row]:
    steps = f"at most {pause.pause_steps} steps"
    repeated = f"{pause.repeated_steps} steps repeated"
    return [
        Row(f"{name}: request to process gone", f"{pause.pause_seconds:.2f} s, {steps}"),
        Row(f"{name}: resume to next step", f"{pause.resume_seconds:.2f} s, {repeated}"),
    ]


def equality_rows(measured: Results) -> list[Row]:
    """Weights that must agree byte for byte."""
    same = all(pair.equal for pair in measured.pairs)
    rows = [_equality("adapter of the bare trainer", "as the service's" if same else "not the service's", same)]
    for found in measured.comparisons:
        sign = "=" if found.equal else "is not"
        figure = f"{found.sha256[:16]} {sign} {found.undisturbed_sha256[:16]}"
        rows.append(_equality(f"{found.weights} after {found.interruption}", figure, found.equal))
    return rows


def _equality(what: str, figure: str, equal: bool) -> Row:
    return Row(what, figure, "equal", equal, binding=True)


def measure(parts: list[str]) -> list[Row]:
    """Run the parts, show their tables and return all rows."""
    tables: dict[str, list[Row]] = {}
    if "engine" in parts:
        print("\nMeasuring the step engine against TRL", flush=True)
        tables["Step engine, full or LoRA fine-tune"] = engine_rows(engine.run("full"))
    if "service" in parts:
        print("\nMeasuring the service", flush=True)
        measured = service.run(lambda line: print(line, flush=True))
        tables["Service, the demo's job"] = service_rows(measured)
        tables["SHA-256 of interrupted runs beside the undisturbed one's"] = equality_rows(measured)
    if "scale" in parts:
        print("\nMeasuring many rows", flush=True)
        tables["Many rows"] = scale.run()
    if "fairness" in parts:
        print("\nMeasuring two organizations", flush=True)
        tables["Two organizations"] = fairness.run(lambda line: print(line, flush=True))
    if "latency" in parts:
        print("\nMeasuring waits", flush=True)
        tables["Waits, settings as shipped"] = latency.run(lambda line: print(line, flush=True))
    for title, rows in tables.items():
        show(title, rows)
    return [row for rows in tables.values() for row in rows]


def main() -> int:
    """The exit status: 0, 1 when weights or losses differ or a part could not be measured, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=PARTS + BY_NAME, help=f"what to measure; {', '.join(PARTS)} unless given"
    )
    asked = parser.parse_args().part
    parts = [asked] if asked else PARTS
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
