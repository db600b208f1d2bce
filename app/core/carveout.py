"""A share of the training rows held out for validation: which ones is a function of seed, number of rows and share.

A row's place counts the lines that are not blank, from 0.
"""

import random
from collections.abc import Mapping
from typing import Any


def count(rows: int, share: float) -> int:
    """How many of the rows are held out: at least one where a share is asked for, and never the only one."""
    return max(1, round(rows * share)) if share and rows > 1 else 0


def places(rows: int, share: float, *, seed: int) -> list[int]:
    """The places of the rows that are held out, in order; every choice of so many rows is equally likely.

    Source: Knuth, The Art of Computer Programming, volume 2, 3.4.2, algorithm S. Python promises that the numbers of
    `random()` stay the same for a seed, and promises it of no other method.
    """
    wanted, generator = count(rows, share), random.Random(seed)  # noqa: S311 - a split, no secret
    chosen: list[int] = []
    for place in range(rows):
        if generator.random() * (rows - place) < wanted - len(chosen):
            chosen.append(place)
    return chosen


def trained_part(counted: Mapping[str, Any]) -> dict[str, int]:
    """Of a training file's counts, those of the rows that are trained on; `held_out` in them counts the others."""
    held: Mapping[str, int] = counted.get("held_out") or {}
    return {name: value - held.get(name, 0) for name, value in counted.items() if isinstance(value, int)}
