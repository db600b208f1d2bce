"""The learning rate and the position in the data, both pure functions of the step."""

import math
from functools import lru_cache

import numpy as np

from workers.trainer.spec import Hyperparameters

LOOKED_AT = 2000


def learning_rate(step: int, *, total_steps: int, settings: Hyperparameters) -> float:
    """Rate of optimizer step `step` (1..total_steps): warm-up to the peak, then the scheduler's curve to 0."""
    done = step - 1
    if done < settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    share = (done - settings.warmup_steps) / max(1, total_steps - settings.warmup_steps)
    match settings.scheduler:
        case "cosine":
            return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        case "linear":
            return settings.learning_rate * (1 - share)
        case "constant":
            return settings.learning_rate
    raise ValueError(f"Unknown scheduler {settings.scheduler!r}")


def looked_at(rows: int) -> np.ndarray:
    """Indices of the training rows whose own losses are told at the end: all, or LOOKED_AT spread evenly."""
    return np.arange(rows) if rows <= LOOKED_AT else np.arange(LOOKED_AT) * rows // LOOKED_AT


def steps_per_epoch(rows: int, batch_size: int) -> int:
    return math.ceil(rows / batch_size)


@lru_cache(maxsize=2)
def order(rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of the rows in `epoch` (from 0); numpy promises that RandomState never changes its stream."""
    state = np.random.RandomState([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, epoch])
    return state.permutation(rows)


def rows_of_step(step: int, *, rows: int, batch_size: int, seed: int) -> np.ndarray:
    """Indices of the rows that optimizer step `step` (from 1) trains on; an epoch's last batch may be smaller."""
    epoch, place = divmod(step - 1, steps_per_epoch(rows, batch_size))
    return order(rows, seed=seed, epoch=epoch)[place * batch_size : (place + 1) * batch_size]
