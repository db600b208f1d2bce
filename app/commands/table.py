"""Rows of text in columns that are as wide as they must be."""

from collections.abc import Sequence


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows, the first of which names the columns."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
