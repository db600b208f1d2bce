"""Rows of figures: what was measured, the figure with its unit, the goal, and whether it was reached."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure. `reached` is None where there is no goal; `binding` rows decide the exit status."""

    what: str
    figure: str
    goal: str = ""
    reached: bool | None = None
    binding: bool = False

    @property
    def verdict(self) -> str:
        return {None: "", True: "reached", False: "missed"}[self.reached]

    @property
    def broken(self) -> bool:
        """Whether something that must be equal on any machine is not."""
        return self.binding and self.reached is False


Tables = dict[str, list[Row]]
Say = Callable[[str], None]


def at_least(what: str, figure: float, goal: float, *, unit: str) -> Row:
    """A figure that should be high."""
    return Row(what, f"{figure:.2f} {unit}", f"at least {goal:.2f}", figure >= goal)


def at_most(what: str, figure: float, goal: float, *, unit: str) -> Row:
    """A figure that should be low."""
    return Row(what, f"{figure:.2f} {unit}", f"at most {goal:.2f}", figure <= goal)


def show(title: str, rows: Iterable[Row]) -> None:
    """Print a table, its columns as wide as they need to be."""
    lines = [(row.what, row.figure, row.goal, row.verdict) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    print(f"\n{title}")
    for line in lines:
        print("  " + "   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
