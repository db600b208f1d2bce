"""What the suite's results mean: which failures were announced, and which are ours."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.conformance.suite import Result


@dataclass(frozen=True)
class Awaited:
    """Tests that fail, as announced: part of their names, why, and what they fail with."""

    name: str
    what: str
    says: str


AWAITED = (
    Awaited("alpha.test_graders.", "graders come with the method reinforcement", "Unknown request URL: POST"),
    Awaited(
        "test_reinforcement_fine_tuning_jobs.",
        "jobs come with the method reinforcement",
        "does not train by reinforcement yet",
    ),
    Awaited("test_jobs.", "a job with integrations is refused for now", "integrations come in a later version"),
)


@dataclass(frozen=True)
class Verdict:
    """The counts by outcome; failures by what they await; failures that nothing announced."""

    counts: Counter[str]
    awaited: dict[str, list[str]]
    unexplained: list[Result]

    @property
    def line(self) -> str:
        """Passed, failed, skipped, in words."""
        return _line(self.counts)

    @property
    def conforms(self) -> bool:
        """Whether tests ran, and all that failed were announced."""
        return self.counts["passed"] > 0 and not self.unexplained


def _line(counts: Counter[str]) -> str:
    return f"{counts.total()} tests: " + ", ".join(f"{counts[end]} {end}" for end in ("passed", "failed", "skipped"))


def by_module(results: Sequence[Result]) -> list[str]:
    """The counts of each module of a suite, in words."""
    found: dict[str, Counter[str]] = {}
    for result in results:
        module = result.test.partition("::")[0].rpartition(".")[0]
        found.setdefault(module, Counter())[result.outcome] += 1
    return [f"{module.removeprefix('tests.api_resources.')}: {_line(counts)}" for module, counts in found.items()]


def judge(results: Sequence[Result]) -> Verdict:
    """Sort the failures; one that says something else than was announced is unexplained."""
    awaited: dict[str, list[str]] = {}
    unexplained = []
    for result in results:
        if result.outcome != "failed":
            continue
        known = next((item for item in AWAITED if item.name in result.test and item.says in result.text), None)
        if known is None:
            unexplained.append(result)
        else:
            awaited.setdefault(known.what, []).append(result.test)
    return Verdict(Counter(result.outcome for result in results), awaited, unexplained)
