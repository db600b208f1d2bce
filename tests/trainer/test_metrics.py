"""The time left counts what is still to come: steps, evaluations, checkpoints."""

import pytest

from workers.trainer import metrics
from workers.trainer.metrics import Meter


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])

    def spend(seconds: float) -> None:
        now[0] += seconds

    return spend


def stepped(meter: Meter, clock, seconds: float) -> None:
    meter.start()
    clock(seconds)
    meter.stop(100, "cpu")


def said(meter: Meter, step: int, *, total: int, per_epoch: int, eval_steps: int = 0) -> dict:
    lines: list[dict] = []
    last = {"train_loss": 1.0, "tokens_per_second": 1.0}
    meter.progress(step, total, per_epoch, eval_steps, last, lines.append)
    return lines[-1]


def test_time_left_is_the_steps_by_their_moving_average(clock):
    meter = Meter()
    stepped(meter, clock, 2.0)
    stepped(meter, clock, 4.0)
    assert said(meter, 2, total=12, per_epoch=12)["seconds_left"] == pytest.approx(10 * (2 * 0.9 + 4 * 0.1))


def test_evaluations_and_checkpoints_to_come_are_counted(clock):
    meter = Meter()
    stepped(meter, clock, 1.0)
    with meter.evaluating():
        clock(5.0)
    with meter.publishing():
        clock(3.0)
    left = said(meter, 4, total=12, per_epoch=4, eval_steps=6)["seconds_left"]
    assert left == pytest.approx(8 * 1.0 + (2 + 2) * 5.0 + (2 + 1) * 3.0)


def test_the_last_step_leaves_the_export(clock):
    meter = Meter()
    stepped(meter, clock, 1.0)
    with meter.publishing():
        clock(3.0)
    assert said(meter, 12, total=12, per_epoch=4)["seconds_left"] == pytest.approx(3.0)
