"""`python -m tests.mutants [WORDS]`: take out one guard at a time, of those whose names hold the words, and see what
fails. Beside each guard's own test, the protocol walk and the hammer are asked whether they notice too.

Exit status 0 when every mutant is caught by its test, 1 when one survives, 2 when the list or the tests are broken.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from app.embedded import postgres
from app.embedded.processes import free_port
from tests.mutants.guards import LIFELINE, MUTANTS, Mutant
from tests.mutants.trial import FAILED, PASSED, Stale, caught, copy, mutated, run
from tests.services import running, scratch_directory

PROOFS = {"walk": "tests/store/test_protocol_walk.py", "hammer": "tests/store/test_hammer.py"}
SHORT = {"HYPOTHESIS_EXAMPLES": "200", "HYPOTHESIS_NO_SHRINK": "1"}
LINE = "{:<44} {:<100} {:<14} {:>7}"


@contextmanager
def database_server() -> Iterator[dict[str, str]]:
    """The environment that names a PostgreSQL server: DATABASE_URL, else an embedded one for all trials."""
    if "DATABASE_URL" in os.environ:
        yield {}
        return
    with scratch_directory() as directory:
        server = postgres.prepare(directory, port=free_port(), durable=False)
        with running(server, directory):
            yield {"DATABASE_URL": server.url}


def main(words: str) -> int:
    chosen = [mutant for mutant in MUTANTS if words in mutant.guard]
    try:
        for mutant in chosen:
            mutated(mutant)
    except Stale as error:
        print(f"The list of mutants is stale: {error}", file=sys.stderr)
        return 2
    with database_server() as environment:
        if not healthy(chosen, environment):
            return 2
        print(LINE.format("without", "caught by", "and by", "seconds"), flush=True)
        survivors = [mutant.guard for mutant in chosen if not trial(mutant, {**SHORT, **environment})]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants caught by the test that names them", end="")
    print(f"; survived: {', '.join(survivors)}" if survivors else "")
    return 1 if survivors else 0


def healthy(chosen: list[Mutant], environment: dict[str, str]) -> bool:
    """Whether the tests pass while every guard is in place: else their failure would prove nothing."""
    with copy(None) as directory:
        control = run(directory, sorted({mutant.test for mutant in chosen}), environment)
    if control.exit_code != PASSED:
        print(f"The tests fail although no guard is missing:\n{control.output}", file=sys.stderr)
    return control.exit_code == PASSED


def trial(mutant: Mutant, environment: dict[str, str]) -> bool:
    """Try one mutant and print its line."""
    with copy(mutant) as directory:
        own = run(directory, [mutant.test], environment)
        proofs = {} if mutant.path == LIFELINE else PROOFS
        others = {name: run(directory, [test], environment) for name, test in proofs.items()}
    is_caught = caught(mutant, own)
    seconds = own.seconds + sum(other.seconds for other in others.values())
    noticed = ", ".join(name for name, other in others.items() if other.exit_code == FAILED)
    by = own.failed.rpartition("::")[2].partition(" - ")[0] if is_caught else f"SURVIVED (pytest: {own.exit_code})"
    print(LINE.format(mutant.guard, by, noticed or "-", f"{seconds:.1f}"), flush=True)
    if not is_caught:
        print(own.output, file=sys.stderr)
    return is_caught


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
