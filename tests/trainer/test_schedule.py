"""Order and learning rate are pure functions of the step."""

import numpy as np
import pytest
import torch

from workers.trainer.schedule import learning_rate, order, rows_of_step, steps_per_epoch
from workers.trainer.spec import Hyperparameters


def settings(**changes):
    return Hyperparameters(epochs=1, batch_size=1, learning_rate=0.5, **changes)


def test_every_epoch_holds_every_row_once_in_an_order_of_its_own():
    rows, size = 23, 4
    per_epoch = steps_per_epoch(rows, size)
    epochs = [
        np.concatenate(
            [rows_of_step(e * per_epoch + s, rows=rows, batch_size=size, seed=1) for s in range(1, per_epoch + 1)]
        )
        for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(rows)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_the_seeds_and_not_torchs_generator():
    first = order(50, seed=3, epoch=1).tolist()
    order.cache_clear()
    torch.manual_seed(99)
    assert order(50, seed=3, epoch=1).tolist() == first
    assert order(50, seed=4, epoch=1).tolist() != first


def test_warm_up_rises_in_equal_parts_to_the_peak_and_never_wastes_a_step():
    rates = [learning_rate(step, total_steps=10, settings=settings(warmup_steps=4)) for step in range(1, 11)]
    assert rates[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert min(rates) > 0


@pytest.mark.parametrize(
    ("scheduler", "middle", "last"), [("constant", 0.5, 0.5), ("linear", 0.25, 0.005), ("cosine", 0.25, 0.0001234)]
)
def test_each_scheduler_bends_as_its_name_says(scheduler, middle, last):
    chosen = settings(scheduler=scheduler)
    assert learning_rate(51, total_steps=100, settings=chosen) == pytest.approx(middle)
    assert learning_rate(100, total_steps=100, settings=chosen) == pytest.approx(last, rel=1e-2)
