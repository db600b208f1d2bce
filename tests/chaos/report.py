"""The table: faults by kind, jobs and how they ended, and what must be zero, one, or all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from tests.bench.tables import Row, show
from tests.chaos import verdict, witness
from tests.chaos.evidence import Evidence
from tests.chaos.faults import FAULTS, MESSAGES


def print_tables(evidence: Evidence, violations: Sequence[str]) -> None:
    """Print what happened, and every violation."""
    show("Faults, and the time until their traces were gone", fault_rows(evidence))
    show("Jobs", job_rows(evidence))
    for said in given_up(evidence):
        print(f"\n{said}")
    print("\nNo violation." if not violations else f"\n{len(violations)} violations:")
    for said in violations:
        print(f"  {said}")


def given_up(evidence: Evidence) -> Iterator[str]:
    """What befell each job that was given up: its losses, each with the fault that was inflicted before it."""
    for job in (job for job in evidence.jobs if verdict.given_up(evidence, job)):
        losses = [evidence.clock.monotonic(event["created_at"]) for event in evidence.events[job] if event["lost"]]
        yield f"{job} was given up; its losses, and the fault before each: " + "; ".join(
            next(
                (f"{each.fault}, {at - each.began:.1f} s" for each in reversed(evidence.struck) if each.began < at),
                "none",
            )
            for at in losses
        )


def fault_rows(evidence: Evidence) -> list[Row]:
    """A row for each kind of fault, and one for all of processes."""
    counts = Counter(struck.fault for struck in evidence.struck)
    rows = [_fault_row(evidence, name) for name in FAULTS if name in counts]
    processes = sum(number for name, number in counts.items() if FAULTS[name].process)
    rows.append(Row("faults of processes", str(processes)))
    rows += [Row(name, "cannot be produced here: mounting a disk needs root") for name in evidence.not_possible]
    if MESSAGES in counts:
        rows.append(Row("messages tampered with", f"{evidence.messages_tampered}, half of them doubled, half dropped"))
    return rows


def _fault_row(evidence: Evidence, name: str) -> Row:
    struck = [each for each in evidence.struck if each.fault == name]
    seconds = [each.recovery.seconds for each in struck if each.recovery]
    stuck = len(struck) - len(seconds)
    limit = struck[0].limit_seconds
    times = f"median {median(seconds):.1f} s, worst {max(seconds):.1f} s" if seconds else "never"
    reached = not stuck and max(seconds) <= limit
    return Row(f"{name}, {len(struck)} times", times + (f", {stuck} never" if stuck else ""), f"{limit:.0f} s", reached)


def job_rows(evidence: Evidence) -> list[Row]:
    """What became of the jobs, and what must hold of them."""
    ended = Counter(row["status"] for row in evidence.jobs.values())
    taken = witness.steps(evidence.sights)
    repeated = sum(times - 1 for counted in taken.values() for times in counted.values())
    equal = ended["succeeded"] - len(list(verdict.weights(evidence)))
    twice = [*verdict.together(evidence), *verdict.out_of_turn(evidence)]
    ends = [sum(_terminal(event) for event in evidence.events.get(job, [])) for job in evidence.jobs]
    verbs = Counter(verb for order in evidence.orders for verb in order.done)
    return [
        Row("jobs", f"{len(evidence.orders)}: " + ", ".join(f"{n} {status}" for status, n in sorted(ended.items()))),
        Row("wishes of their owners", ", ".join(f"{n} {verb}" for verb, n in sorted(verbs.items())) or "none"),
        Row("attempts, workers lost", f"{_attempts(evidence)}, {_losses(evidence)}"),
        _zero("lost", len(list(verdict.lost(evidence)))),
        Row(
            "given up after the fourth loss in a row without a checkpoint",
            str(sum(verdict.given_up(evidence, job) for job in evidence.jobs)),
        ),
        _zero("ended otherwise than expected", len(list(verdict.unexpected(evidence)))),
        _zero("trained twice", len(twice)),
        Row("terminal events per job", f"{min(ends)} to {max(ends)}", "1", set(ends) == {1}),
        Row("steps, of them repeated", f"{sum(map(Counter.total, taken.values()))}, {repeated}"),
        Row(
            "weights equal to the undisturbed run",
            f"{equal} of {ended['succeeded']}",
            "all",
            equal == ended["succeeded"],
        ),
        Row("woken at a time, longest queue in Redis", f"{evidence.most_woken}, {evidence.longest_queue}"),
        Row("requests sent again", str(evidence.requests_repeated)),
    ]


def _zero(what: str, number: int) -> Row:
    return Row(what, str(number), "0", number == 0)


def _terminal(event: dict) -> bool:
    return (event["data"] or {}).get("status") in ("succeeded", "failed", "cancelled")


def _attempts(evidence: Evidence) -> int:
    return sum(row["attempt"] for row in evidence.jobs.values())


def _losses(evidence: Evidence) -> int:
    return sum(event["lost"] for events in evidence.events.values() for event in events)
