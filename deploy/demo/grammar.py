"""Phrase files and how one line of them becomes text: `[a|b]` is a choice, `{slot}` a filled blank."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

PHRASES = Path(__file__).parent / "phrases"
CHOICE = re.compile(r"\[([^\[\]]*)\]")
ORDINALS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}
SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Section:
    """One `## name` block of a phrase file: its lines by their leading mark; a mark set twice says that one is rare."""

    name: str
    lines: dict[str, list[str]]
    rare: set[str]

    def common(self, mark: str) -> list[str]:
        """The lines of a mark that are not rare."""
        return [line for line in self.lines[mark] if line not in self.rare]


def sections(name: str) -> list[Section]:
    """The blocks of phrases/<name>.txt in file order."""
    found: list[Section] = []
    for line in (PHRASES / f"{name}.txt").read_text("utf-8").splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "##":
            found.append(Section(rest, {}, set()))
        elif rest:
            found[-1].lines.setdefault(mark[0], []).append(rest)
            if len(mark) > 1:
                found[-1].rare.add(rest)
    return found


def choose(line: str, rng: random.Random) -> str:
    """Settle every choice of a line and leave its slots open: a phrasing's skeleton."""
    return tidy(CHOICE.sub(lambda match: rng.choice(match[1].split("|")), line))


def fill(skeleton: str, rng: random.Random) -> str:
    """Fill the slots, also those that a filling brings along."""
    while SLOT.search(skeleton):
        skeleton = SLOT.sub(lambda match: _filling(match[1], rng), skeleton)
    return skeleton


def tidy(text: str) -> str:
    """Close the gaps that an empty choice leaves."""
    return re.sub(r"\s+([,.?!]|$)", r"\1", re.sub(r"\s+", " ", text)).strip()


def _slots() -> dict[str, list[str]]:
    lines = (PHRASES / "slots.txt").read_text("utf-8").splitlines()
    return {name: fillings.strip().split(" | ") for name, _, fillings in (line.partition(":") for line in lines)}


SLOTS = _slots()


def _filling(slot: str, rng: random.Random) -> str:
    made = {"number": _number, "th": _day_of_month, "amount": _amount, "id": _reference}
    return made[slot](rng) if slot in made else rng.choice(SLOTS[slot])


def _number(rng: random.Random) -> str:
    round_number = rng.choice([12, 14, 15, 20, 24, 25, 30, 40, 50, 80, 100])
    return str(rng.choice([rng.randint(2, 10), round_number, rng.randint(2, 999)]))


def _day_of_month(rng: random.Random) -> str:
    day = rng.randint(1, 28)
    return str(day) + ORDINALS.get(day, "th")


def _amount(rng: random.Random) -> str:
    whole = rng.choice([rng.randint(2, 99), rng.randint(100, 999)])
    price = f"{whole}{rng.choice(['', '', '.99', f'.{rng.randint(0, 99):02d}'])}"
    return rng.choice([f"${price}", f"{price} euros", f"€{price}", f"£{price}", f"{whole} dollars", price])


def _reference(rng: random.Random) -> str:
    return rng.choice(["", "", "A", "B-", "SO", "TK-"]) + str(rng.randint(1000, 99999))
