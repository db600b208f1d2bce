"""The witness file tells of every step, by whom and when, and only of runs that a worker has claimed."""

import os

import pytest

from tests.trainer.conftest import train_here, write_job

pytestmark = pytest.mark.slow


@pytest.fixture
def witness(tmp_path, monkeypatch):
    path = tmp_path / "witness"
    monkeypatch.setenv("TUNEYARD_WITNESS", str(path))
    return path


def test_every_step_of_a_claimed_run_is_witnessed_between_its_start_and_its_end(tiny, tmp_path, witness):
    train_here(write_job(tmp_path / "job", tiny, rows=8, valid=0, epochs=2, attempt=3))
    lines = [line.split() for line in witness.read_text().splitlines()]
    assert {tuple(line[:3]) for line in lines} == {(str(os.getpid()), "ftjob-test", "3")}
    assert [(line[4], int(line[3])) for line in lines] == [
        ("start", 0),
        *(("step", n) for n in range(1, 5)),
        ("end", 4),
    ]
    times = [float(line[5]) for line in lines]
    assert times == sorted(times)


def test_a_run_by_hand_leaves_no_trace(tiny, tmp_path, witness):
    train_here(write_job(tmp_path / "job", tiny, rows=8, valid=0, epochs=1))
    assert not witness.exists()
