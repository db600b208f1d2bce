"""Method dpo: pairs, their reference, and a run that comes to prefer what is preferred."""

import json
import math

import numpy as np
import pytest
import torch

from tests.trainer.conftest import FLIGHT, of_kind, preference, train_here, write_preferences, write_rows
from workers.trainer import batches, checkpoints, preparation, reference
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline
from workers.trainer.methods import Dpo
from workers.trainer.preparation import Stopped

pytestmark = pytest.mark.slow

MEASURED = {"loss", "preference_accuracy", "reward_margin"}


@pytest.fixture(scope="module", params=["lora", "full"])
def learned(request, tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("learned") / "job"
    rate = {"lora": 0.02, "full": 0.005}[request.param]
    job = write_preferences(place, tiny, training_type=request.param, epochs=5, learning_rate=rate, beta=0.5)
    return job, train_here(job)


def test_the_first_loss_is_that_of_a_coin_and_then_the_preferred_answers_win(learned):
    metrics = of_kind(learned[1], "metrics")
    assert metrics[0]["train_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert metrics[0]["train_reward_margin"] == pytest.approx(0, abs=1e-4)
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"] * 2 / 3
    assert metrics[-1]["train_reward_margin"] > 0.5
    assert metrics[-1]["full_valid_preference_accuracy"] >= 5 / 6


def test_every_metric_is_preference_trainings_and_evaluations_have_them_all(learned):
    lines = of_kind(learned[1], "metrics")
    evaluated = {line["step"] for line in lines if "full_valid_loss" in line}
    assert evaluated == {6, 12, 18, 24, 30}
    for line in lines:
        prefixes = {"train", "valid", "full_valid"} if line["step"] in evaluated else {"train"}
        named = {f"{prefix}_{name}" for prefix in prefixes for name in MEASURED}
        assert {name for name in line if name.startswith(("train", "valid", "full"))} == named


def test_a_checkpoint_shows_the_metrics_of_its_step(learned):
    newest = of_kind(learned[1], "checkpoint")[-1]
    assert {f"{prefix}_{name}" for prefix in ("train", "valid", "full_valid") for name in MEASURED} < set(
        newest["metrics"]
    )


def test_base_and_tuned_model_answer_the_validation_prompts_and_the_preferred_answer_counts(learned):
    job, lines = learned
    written = [json.loads(line) for line in (job / "answers.jsonl").read_text().splitlines()]
    assert [answer["expected"] for answer in written] == [
        preference(place)["preferred_output"][0]["content"] for place in range(100, 104)
    ]
    [counted] = of_kind(lines, "answers")
    assert counted["tuned_exact"] == sum(answer["tuned"].strip() == answer["expected"] for answer in written)


def prepared(tiny, tmp_path, **changes):
    job = write_preferences(tmp_path / "job", tiny, **changes)
    return preparation.prepare(job, Lifeline(), lambda line: None)


def log_probability(model, ids, trained):
    """Of one document alone, by the model's own logits everywhere."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(ids.astype(np.int64))[None], use_cache=False).logits[0].double()
    each = torch.log_softmax(logits[:-1], -1).gather(1, torch.tensor(ids[1:].astype(np.int64))[:, None])[:, 0]
    return float(each[torch.tensor(trained[1:])].sum())


def test_the_reference_is_what_the_weights_of_the_start_say_a_trained_adapter_included(tiny, tmp_path):
    run = prepared(tiny, tmp_path)
    fresh = run.train.reference.copy()
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in run.engine.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=chance) * 0.1)
    again = reference.measured(run.engine, run.train, lambda: None)
    from workers.trainer import model as models

    with models.plain_attention(run.engine.model):
        run.engine.model.eval()
        alone = [
            log_probability(run.engine.model, again.ids[start:end], again.trained[start:end])
            for start, end in batches.bounds(np.diff(again.starts))
        ]
    assert again.reference == pytest.approx(alone, abs=1e-4)
    assert np.abs(again.reference - fresh).min() > 1e-3


def test_a_pair_is_never_split_between_packs_and_keeps_its_order(tiny, tmp_path):
    run = prepared(tiny, tmp_path)
    packs = list(batches.packs(run.train, [5, 3, 8, 1], budget=60))
    assert len(packs) > 1
    assert [number for pack in packs for number in pack.documents] == [10, 11, 6, 7, 16, 17, 2, 3]
    assert all(len(pack.documents) % 2 == 0 and len(pack.documents) == len(pack.counts) for pack in packs)
    method = Dpo(0.1)
    assert sum(method.count(pack) for pack in packs) == 4


def test_the_loss_does_not_depend_on_how_pairs_are_packed(tiny, tmp_path):
    run = prepared(tiny, tmp_path)
    with torch.no_grad():
        for name, weight in run.engine.model.named_parameters():
            if "lora_B" in name:
                weight += 0.05
    run.engine.model.eval()
    together, apart = (
        [run.engine.measure(pack) for pack in batches.packs(run.train, range(24), budget=budget)]
        for budget in (1 << 20, 1)
    )
    assert (len(together), len(apart)) == (1, 24)
    assert sum(sums.loss for sums in apart) == pytest.approx(together[0].loss, abs=1e-4)
    assert sum(sums.hits for sums in apart) == together[0].hits


def test_a_pair_that_lost_an_answer_to_the_cut_is_left_out(tiny, tmp_path):
    job = write_preferences(tmp_path / "job", tiny, max_length=24, valid=0)
    long = preference(1)
    long["input"]["messages"] = [{"role": "user", "content": "green seven " * 20}]
    write_rows(job / "train.jsonl", [preference(0), long, preference(2)])
    lines = []
    run = preparation.prepare(job, Lifeline(), lines.append)
    [warning] = of_kind(lines, "warning")
    assert warning["data"]["lines"] == [2]
    [pack] = batches.packs(run.train, range(3), budget=512)
    assert pack.documents == (0, 1, 4, 5)


def test_the_reference_is_in_every_checkpoint_and_a_resume_has_it_to_the_bit(tiny, tmp_path):
    job = write_preferences(tmp_path / "job", tiny, epochs=1)
    first = preparation.prepare(job, Lifeline(), lambda line: None)
    train_here(job)
    resumed = preparation.prepare(job, Lifeline(), lambda line: None)
    assert resumed.step == 6
    assert np.array_equal(resumed.train.reference, first.train.reference)
    assert np.array_equal(resumed.valid.reference, first.valid.reference)


def test_a_checkpoint_without_the_reference_of_these_rows_is_refused_in_words(tiny, tmp_path):
    job = write_preferences(tmp_path / "job", tiny, epochs=1, valid=0)
    train_here(job)
    write_rows(job / "valid.jsonl", [preference(100)])
    newest = checkpoints.newest(job / "checkpoints")
    assert set(checkpoints.reference(newest)) == {"train"}
    with pytest.raises(Failure) as failed:
        train_here(job)
    assert failed.value.code == "checkpoint_unusable"


def test_a_stop_while_the_reference_is_measured_ends_the_run_before_its_first_step(tiny, tmp_path):
    class StopAfterRows:
        looks = 2 * 24 + 2 * 6 + FLIGHT + 1  # one more: a pass over the training rows

        @property
        def stop_asked(self):
            self.looks -= 1
            return self.looks < 0

    job = write_preferences(tmp_path / "job", tiny)
    lines = []
    with pytest.raises(Stopped) as stopped:
        preparation.prepare(job, StopAfterRows(), lines.append)
    assert stopped.value.args == (0,)
    assert of_kind(lines, "started")
