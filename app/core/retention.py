"""How many checkpoints of a job are kept, on the trainer's disk and in storage alike, beside the best ones."""

from collections.abc import Sequence

from app.core.job import Checkpoint

RESUME_POINTS_KEPT = 2
"""The newest is what a run goes on from; the one before it, when the newest turns out to be damaged."""

EPOCHS_KEPT = 3


def needed(known: Sequence[Checkpoint], *, keep_best: bool) -> list[Checkpoint]:
    """The checkpoints that a run may have to go on from, and with `keep_best` the best one of each one's time.

    known: a job's checkpoints, newest first. A run that goes on from one whose best is gone could not export it.
    """
    points = {point.step for point in known[:RESUME_POINTS_KEPT]}
    bests = {_best_step(known, step) for step in points} if keep_best else set()
    return [found for found in known if found.step in points | bests]


def _best_step(known: Sequence[Checkpoint], step: int) -> int:
    """The step of the lowest validation loss up to `step`, of equal ones the first."""
    losses = [(found.metrics.get("full_valid_loss"), found.step) for found in known if found.step <= step]
    return min((measured for measured in losses if measured[0] is not None), default=(0.0, step))[1]
