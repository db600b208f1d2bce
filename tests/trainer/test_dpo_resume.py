"""Interrupted preference jobs end with the bytes of undisturbed ones, through the real process."""

import random
import signal

import pytest

from tests.trainer.conftest import of_kind, train_here, write_preferences
from tests.trainer.process import Trainer, hashes, train

pytestmark = pytest.mark.slow
SLOW_ENOUGH = {"rows": 40, "epochs": 4, "lora_dropout": 0.1, "eval_steps": 7, "answers": 2}


@pytest.fixture(scope="module", params=["lora", "full"])
def undisturbed(request, tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("plain") / "job"
    directory = write_preferences(place, tiny, training_type=request.param, **SLOW_ENOUGH)
    lines = train(directory)
    return request.param, hashes(directory / "model"), of_kind(lines, "metrics")


def test_a_run_killed_again_and_again_ends_with_the_undisturbed_bytes(undisturbed, tiny, tmp_path):
    training_type, expected, _ = undisturbed
    job = write_preferences(tmp_path / "job", tiny, training_type=training_type, checkpoint_seconds=0, **SLOW_ENOUGH)
    chance = random.Random(3)
    step = 0
    for _ in range(3):
        step += chance.randint(4, 11)
        with Trainer(job) as trainer:
            trainer.until("metrics", step)
            trainer.process.kill()
    lines = train_here(job)
    assert lines[0]["resumed_from"] >= step - 1
    assert hashes(job / "model") == expected


def test_a_run_killed_before_its_first_checkpoint_begins_again_to_the_same_bytes(undisturbed, tiny, tmp_path):
    training_type, expected, _ = undisturbed
    job = write_preferences(tmp_path / "job", tiny, training_type=training_type, **SLOW_ENOUGH)
    with Trainer(job) as trainer:
        trainer.until("metrics", 3)
        trainer.process.kill()
    lines = train_here(job)
    assert lines[0]["resumed_from"] is None
    assert hashes(job / "model") == expected


def test_a_paused_run_goes_on_with_the_undisturbed_metrics_and_bytes(undisturbed, tiny, tmp_path):
    training_type, expected, plain = undisturbed
    job = write_preferences(tmp_path / "job", tiny, training_type=training_type, **SLOW_ENOUGH)
    with Trainer(job, "--supervised") as trainer:
        trainer.lease()
        trainer.until("metrics", random.Random(8).randint(3, 30))
        trainer.process.send_signal(signal.SIGTERM)
        stopped = trainer.until("stopped")["step"]
        assert trainer.process.wait(60) == 3
    lines = train_here(job)
    assert lines[0]["resumed_from"] == stopped
    assert hashes(job / "model") == expected
    timeless = [without_clocks(line) for line in of_kind(lines, "metrics")]
    assert timeless == [without_clocks(line) for line in plain if line["step"] > stopped]


def without_clocks(line):
    return {name: value for name, value in line.items() if name not in ("tokens_per_second", "memory_bytes")}
