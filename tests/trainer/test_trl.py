"""The engine computes what TRL computes: same model, rows, order and batches, same losses."""

import copy

import numpy as np
import pytest
import torch

from tests.bench.engine import Profile, Setting, child_trl, child_tuneyard
from tests.trainer.conftest import build_model, chat, write_preferences, write_rows
from workers.trainer import batches, preparation, reference
from workers.trainer import model as models
from workers.trainer.lifeline import Lifeline

pytestmark = pytest.mark.slow

STEPS, RATE = 10, 3e-3  # of preference training


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training_type", ["full", "lora"])
def test_the_first_steps_have_trls_losses(tmp_path, training_type):
    build_model(tmp_path / "model")
    write_rows(tmp_path / "train.jsonl", [chat(place) for place in range(40)])
    setting, profile = Setting(training_type, 1, "float32"), Profile(steps=10, batch_size=4, rounds=1, starts=0)
    ours = child_tuneyard(tmp_path, setting, profile)["losses"]
    torch.use_deterministic_algorithms(False)
    theirs = child_trl(tmp_path, setting, profile)["losses"]
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert ours[-1] < ours[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("training_type", "warm"), [("full", False), ("lora", False), ("lora", True)])
def test_the_first_steps_of_preference_training_have_trls_losses(tmp_path, training_type, warm):
    build_model(tmp_path / "model")
    write_preferences(tmp_path / "job", tmp_path / "model", rows=40, valid=0, training_type=training_type)
    ours = dpo_losses(tmp_path / "job", warm=warm)
    torch.use_deterministic_algorithms(False)
    theirs = trl_dpo_losses(tmp_path / "job", tmp_path / "trl", warm=warm)
    assert len(ours) == len(theirs) == STEPS
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert ours[-1] < ours[0]


def dpo_losses(job, *, warm):
    run = preparation.prepare(job, Lifeline(), lambda line: None)
    if warm:
        warm_up(run.engine.model)
        run.train = reference.measured(run.engine, run.train, lambda: None)
    losses = []
    for step in range(STEPS):
        packs = list(batches.packs(run.train, range(4 * step, 4 * step + 4), budget=512))
        losses.append(run.engine.update(packs, learning_rate=RATE)[0].mean_loss)
    return losses


def warm_up(model):
    """An adapter that has learned something, the same one each time."""
    chance = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B.default" in name:
                weight.copy_(torch.randn(weight.shape, generator=chance) * 0.05)


def trl_dpo_losses(job, place, *, warm):
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from trl import DPOConfig, DPOTrainer

    run = preparation.prepare(job, Lifeline(), lambda line: None)  # the same rows and weights to start from
    models.use_attention(run.engine.model, "sdpa")
    if warm:
        warm_up(run.engine.model)
    losses = []

    class Recorded(DPOTrainer):
        def _prepare_dataset(self, dataset, *unused):
            return dataset

        def compute_loss(self, *arguments, **named):
            loss = super().compute_loss(*arguments, **named)
            losses.append(float(loss.detach()))
            return loss

        def _get_train_sampler(self, *arguments, **named):
            return SequentialSampler(self.train_dataset)

    arguments = DPOConfig(
        output_dir=str(place), per_device_train_batch_size=4, max_steps=STEPS, learning_rate=RATE, beta=0.1,
        lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0, optim="adamw_torch_fused",
        bf16=False, fp16=False, use_cpu=True, gradient_checkpointing=False, max_length=None, save_strategy="no",
        report_to="none", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, seed=3,
    )  # fmt: skip
    full = run.spec.hyperparameters.training_type == "full"
    trainer = Recorded(
        model=run.engine.model, ref_model=copy.deepcopy(run.engine.model) if full else None, args=arguments,
        train_dataset=Dataset.from_list([pair(run.train, row) for row in range(len(run.train))]),
        processing_class=run.template.tokenizer,
    )  # fmt: skip
    trainer.train()
    return losses


def pair(rows, row):
    """A row as TRL takes it: the prompt's tokens, and the answers' up to their last trained one."""
    parts = []
    for number in (2 * row, 2 * row + 1):
        ids, trained = (part[rows.starts[number] : rows.starts[number + 1]] for part in (rows.ids, rows.trained))
        first, last = np.flatnonzero(trained)[[0, -1]]
        assert trained[first : last + 1].all()
        parts.append((ids[:first].tolist(), ids[first : last + 1].tolist()))
    (prompt, chosen), (_, rejected) = parts
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
