"""`python -m tests.chaos`: faults upon faults under load, and a verdict; exit status 1 when anything was violated.

SEED, MINUTES (20) and LEASE_SECONDS (5) come from the environment. The first round holds at least three faults of each
kind and is always finished; the settings and margins that are measured against the lease shrink with it.
"""

import os
import sys
import time

from app.embedded.processes import StackError, interrupt_on_signals
from tests.chaos import campaign, faults, report, verdict
from tests.chaos.plan import Plan


def plan_of_environment() -> Plan:
    """The plan that SEED, MINUTES and LEASE_SECONDS ask for; without a SEED, one from the clock."""
    given = {name: value for name, value in os.environ.items() if value.strip()}
    return Plan(
        seed=int(given.get("SEED", time.time_ns() % 1_000_000)),
        seconds=60 * float(given.get("MINUTES", 20)),
        lease_seconds=float(given.get("LEASE_SECONDS", 5)),
        faults=faults.first_round(),
    )


def main() -> int:
    """The exit status: 0, 1 when something was violated or the stack did not start, 130 when interrupted."""
    interrupt_on_signals()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the tiny model would draw one
    plan = plan_of_environment()
    print(f"SEED={plan.seed} MINUTES={plan.seconds / 60:g} LEASE_SECONDS={plan.lease_seconds:g}", flush=True)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    try:
        found = campaign.run(plan, say)
    except StackError as error:
        print(f"tuneyard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    violations = verdict.violations(found)
    report.print_tables(found, violations)
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
