"""Validation loss: on one batch, and on all of the file, from the same passes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workers.trainer.batches import Rows, packs
from workers.trainer.engine import Engine, Sums


class Interrupted(Exception):
    """A stop was asked for before the evaluation was through; it is made again after the resume."""


def evaluate(engine: Engine, rows: Rows, *, step: int, batch_size: int, stop: Callable[[], bool]) -> dict[str, Any]:
    """The four validation metrics after `step`; the batch moves through the file as steps go by.

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
    return {**_named("valid", batch), **_named("full_valid", full)}


def _measure(engine: Engine, rows: Rows, chosen: np.ndarray, stop: Callable[[], bool]) -> Sums:
    sums = Sums()
    for pack in packs(rows, chosen, budget=engine.environment["pack_tokens"]):
        if stop():
            raise Interrupted
        sums += engine.measure(pack)
    return sums


def _named(prefix: str, sums: Sums) -> dict[str, Any]:
    if not sums.targets:
        return {}
    return {f"{prefix}_loss": sums.mean_loss, f"{prefix}_mean_token_accuracy": sums.accuracy}
