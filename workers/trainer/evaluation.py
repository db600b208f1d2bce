"""Validation loss: on one batch, and on all of the file, from the same passes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workers.trainer.batches import Rows, packs
from workers.trainer.engine import Engine, Sums


class Interrupted(Exception):
    """A stop was asked for before the evaluation was through; it is made again after the resume."""


def evaluate(engine: Engine, rows: Rows, *, step: int, batch_size: int, stop: Callable[[], bool]) -> dict[str, Any]:
    """The method's metrics on a batch and on the whole file after `step`; the batch moves through the file.

    Raises Interrupted as soon as `stop` says so. Metrics of a file without any target are left out.
    """
    first = (step * batch_size) % len(rows)
    shifted = np.roll(np.arange(len(rows)), -first)
    engine.model.eval()
    try:
        batch = _measure(engine, rows, shifted[:batch_size], stop)
        full = batch + _measure(engine, rows, shifted[batch_size:], stop)
    finally:
        engine.model.train()
    measured = {"valid": batch, "full_valid": full}
    return {
        name: value
        for prefix, sums in measured.items()
        if sums.targets
        for name, value in engine.metrics(prefix, sums).items()
    }


def _measure(engine: Engine, rows: Rows, chosen: np.ndarray, stop: Callable[[], bool]) -> Sums:
    sums = Sums()
    for pack in packs(rows, chosen, budget=engine.environment["pack_tokens"]):
        if stop():
            raise Interrupted
        sums += engine.measure(pack)
    return sums
