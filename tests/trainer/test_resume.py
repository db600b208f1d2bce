"""Interrupted runs end with the same bytes as undisturbed ones, through the real process."""

import random
import signal

import pytest

from tests.trainer.conftest import FLIGHT, of_kind, train_here, write_job
from tests.trainer.process import Trainer, hashes, train

pytestmark = pytest.mark.slow
SLOW_ENOUGH = {"rows": 40, "epochs": 6, "lora_dropout": 0.1, "eval_steps": 7, "answers": 2, "keep_best": True}


@pytest.fixture(scope="module", params=["lora", "full"])
def undisturbed(request, tiny, tmp_path_factory):
    directory = write_job(tmp_path_factory.mktemp("plain") / "job", tiny, training_type=request.param, **SLOW_ENOUGH)
    lines = train(directory)  # every other run ends in this process, so that equal bytes mean equal everywhere
    return request.param, hashes(directory / "model"), lines


def test_a_run_killed_again_and_again_ends_with_the_undisturbed_bytes(undisturbed, tiny, tmp_path):
    training_type, expected, _ = undisturbed
    job = write_job(tmp_path / "job", tiny, training_type=training_type, checkpoint_seconds=0, **SLOW_ENOUGH)
    chance = random.Random(11)
    step = 0
    for _ in range(3):
        step += chance.randint(5, 15)
        with Trainer(job) as trainer:
            trainer.until("metrics", step)
            trainer.process.kill()
    lines = train_here(job)
    assert lines[0]["resumed_from"] >= step - 1
    assert hashes(job / "model") == expected


def test_a_run_stopped_by_sigterm_resumes_at_that_step_and_ends_with_the_undisturbed_bytes(undisturbed, tiny, tmp_path):
    training_type, expected, plain = undisturbed
    job = write_job(tmp_path / "job", tiny, training_type=training_type, **SLOW_ENOUGH)
    with Trainer(job, "--supervised") as trainer:
        trainer.lease()
        trainer.until("metrics", random.Random(5).randint(3, 50))
        trainer.process.send_signal(signal.SIGTERM)
        stopped = trainer.until("stopped")
        assert trainer.process.wait(60) == 3
    assert (job / "checkpoints" / f"step-{stopped['step']}" / "weights").is_dir()
    lines = train_here(job)
    assert lines[0]["resumed_from"] == stopped["step"]
    assert hashes(job / "model") == expected
    losses = {line["step"]: line["train_loss"] for line in plain if line["type"] == "metrics"}
    again = {line["step"]: line["train_loss"] for line in lines if line["type"] == "metrics"}
    assert again == {step: loss for step, loss in losses.items() if step > stopped["step"]}


class StopAtLook:
    """A lifeline that asks to stop when it has been looked at so many times: rows, then steps and evaluations."""

    def __init__(self, looks):
        self.looks = looks

    @property
    def stop_asked(self):
        self.looks -= 1
        return self.looks < 0

    def check(self):
        pass


def test_a_stop_during_an_evaluation_costs_neither_metrics_nor_bytes(undisturbed, tiny, tmp_path):
    training_type, expected, plain = undisturbed
    job = write_job(tmp_path / "job", tiny, training_type=training_type, **SLOW_ENOUGH)
    first = train_here(
        job, lifeline=StopAtLook(40 + 6 + FLIGHT + 7)
    )  # rows, preflight, then the looks before seven steps
    assert first[-1]["type"] == "stopped"
    second = train_here(job)
    assert hashes(job / "model") == expected
    reported = {line["step"]: line.get("full_valid_loss") for line in of_kind(first + second, "metrics")}
    assert reported == {line["step"]: line.get("full_valid_loss") for line in of_kind(plain, "metrics")}


def test_dying_between_the_last_step_and_the_export_trains_no_further_step(undisturbed, tiny, tmp_path):
    training_type, expected, _ = undisturbed
    job = write_job(tmp_path / "job", tiny, training_type=training_type, **SLOW_ENOUGH)
    with Trainer(job) as trainer:
        trainer.until("checkpoint", 60)
        trainer.process.kill()
    lines = train_here(job)
    assert lines[0]["resumed_from"] == lines[0]["total_steps"] == 60
    assert not [line for line in lines if line["type"] == "metrics"]
    assert hashes(job / "model") == expected


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(undisturbed, tiny, tmp_path):
    training_type, expected, _ = undisturbed
    job = write_job(tmp_path / "job", tiny, training_type=training_type, checkpoint_seconds=0, **SLOW_ENOUGH)
    with Trainer(job) as trainer:
        trainer.until("checkpoint", 8)
        trainer.process.kill()
    newest, before = sorted((int(p.name[5:]) for p in (job / "checkpoints").glob("step-?")), reverse=True)[:2]
    file = job / "checkpoints" / f"step-{newest}" / "state" / "optimizer.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    lines = train_here(job)
    assert lines[0]["resumed_from"] == before
    assert hashes(job / "model") == expected


@pytest.mark.parametrize("training_type", ["lora", "full"])
def test_a_run_in_bfloat16_on_two_threads_resumes_to_the_same_bytes(tiny, tmp_path, training_type):
    changes = {
        "training_type": training_type, "epochs": 2, "lora_dropout": 0.1,
        "environment": {"dtype": "bfloat16", "threads": 2},
    }  # fmt: skip
    whole, parted = (write_job(tmp_path / name, tiny, **changes) for name in ("whole", "parted"))
    train_here(whole)
    stopped = train_here(parted, lifeline=StopAtLook(24 + 6 + FLIGHT + 5))
    assert stopped[-1] == {"type": "stopped", "step": 5}
    train_here(parted)
    assert hashes(parted / "model") == hashes(whole / "model")
