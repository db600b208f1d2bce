"""When the sweep works and when it rests, and that it takes one storage for another at no time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.blobs import storage
from tests.store.conftest import claimed
from tests.workers.test_sweep import FUTURE, database, empty, ended, file_row, has, left, swept
from workers import sweep

__all__ = ["database", "empty"]


def test_storage_that_another_database_knows_is_not_swept(new_job, tmp_path):
    job = ended(claimed(new_job))
    storage().put(f"jobs/{job.id}/a1/unnamed", b"x")
    storage().put("jobs/ftjob-stranger/a1/report.json", b"{}")
    storage().put("files/unnamed", b"x")
    before = left()
    with pytest.raises(sweep.StrangeStorage, match="ftjob-stranger"):
        swept()
    assert left() == before


def test_the_sweep_rests_when_it_meets_a_stranger(key_id, monkeypatch):
    storage().put("jobs/ftjob-stranger/a1/report.json", b"{}")
    storage().put("files/unnamed", b"x")
    monkeypatch.setattr(sweep, "GRACE", timedelta(days=-365))
    monkeypatch.setattr(sweep, "LOOKED_AT_IN_A_ROUND", 1)
    monkeypatch.setattr(sweep, "ROUND_SECONDS", 0)
    one = sweep.Sweep()
    for _ in range(3):
        one.round()
    assert has("files/unnamed") == [True]


def test_a_round_looks_at_a_few_things_and_the_next_one_goes_on(key_id, monkeypatch):
    for number in range(7):
        storage().put(f"files/unnamed-{number}", b"x")
    monkeypatch.setattr(sweep, "GRACE", timedelta(days=-365))
    monkeypatch.setattr(sweep, "LOOKED_AT_IN_A_ROUND", 3)
    monkeypatch.setattr(sweep, "ROUND_SECONDS", 0)
    one, counts = sweep.Sweep(), []
    for _ in range(4):
        one.round()
        counts.append(len(left()))
    assert counts == [4, 1, 0, 0]


def test_after_a_pass_the_sweep_rests(key_id, monkeypatch):
    monkeypatch.setattr(sweep, "GRACE", timedelta(days=-365))
    monkeypatch.setattr(sweep, "ROUND_SECONDS", 0)
    one = sweep.Sweep()
    one.round()
    storage().put("files/unnamed", b"x")
    one.round()
    assert has("files/unnamed") == [True]


def test_a_clock_that_has_just_started_does_not_sweep_yet(key_id, monkeypatch):
    monkeypatch.setattr(sweep, "GRACE", timedelta(days=-365))
    storage().put("files/unnamed", b"x")
    sweep.Sweep().round()
    assert has("files/unnamed") == [True]


def test_two_clocks_may_sweep_the_same_things(key_id):
    for number in range(40):
        storage().put(f"files/unnamed-{number}", b"x")
    file_row("files/unnamed-7")
    found = list(sweep.everything())
    with ThreadPoolExecutor(4) as threads:
        clocks = [threads.submit(sweep.remove_unnamed, found, before=FUTURE) for _ in range(4)]
    for clock_ in clocks:
        clock_.result()
    assert left() == {"files/unnamed-7"}
