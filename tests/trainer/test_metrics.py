"""Progress is told once a second."""

from workers.trainer import metrics
from workers.trainer.metrics import Meter


def test_progress_is_due_once_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    meter = Meter()
    due = []
    for _ in range(5):
        due.append(meter.progress_is_due())
        now[0] += 0.5
    assert due == [True, False, True, False, True]
