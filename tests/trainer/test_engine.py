"""Packing changes how fast a step is and nothing else."""

import numpy as np
import pytest
import torch

from workers.trainer import batches, engine, packing
from workers.trainer import model as models
from workers.trainer.methods import Supervised
from workers.trainer.rows import Encoded

ENVIRONMENT = {"device": "cpu", "dtype": "float32", "threads": 1, "pack_tokens": 64, "packing": True}
SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def rows_of(*lengths, trained=0.5, seed=0):
    chance = np.random.RandomState(seed)
    encoded = [
        Encoded(line, chance.randint(3, 97, n).tolist(), [place >= n * (1 - trained) for place in range(n)], n)
        for line, n in enumerate(lengths, start=1)
    ]
    return batches.gather(encoded)


def build(family, **changes):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SMALL, **changes})
    return AutoModelForCausalLM.from_config(config).train()


def stepper(model, **changes):
    environment = {**ENVIRONMENT, **changes}
    if environment["packing"]:
        assert models.supports_documents(model)
    return engine.Engine(
        model, engine.optimizer(models.trainable(model), weight_decay=0.0), environment, 0.0, Supervised()
    )


def reference(model, rows):
    """Loss and gradients of the mean over all targets, each row alone, logits everywhere, nothing of ours."""
    total, count = torch.zeros(()), 0
    for row in range(len(rows)):
        part = slice(rows.starts[row], rows.starts[row + 1])
        ids = torch.tensor(rows.ids[part].astype(np.int64))[None]
        labels = torch.where(torch.tensor(rows.trained[part]), ids[0], -100)
        logits = model(input_ids=ids, use_cache=False).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
        count += int((labels[1:] >= 0).sum())
    (total / count).backward()
    return float(total.detach() / count), {name: w.grad.clone() for name, w in model.named_parameters()}


@pytest.mark.parametrize("family", sorted(packing.KNOWN_FAMILIES))
def test_a_packed_step_has_the_loss_and_the_gradients_of_its_rows_one_by_one(family):
    extra = {"gemma": {"head_dim": 8}, "qwen3": {"head_dim": 8}}.get(family, {})
    model, rows = build(family, **extra), rows_of(5, 31, 2, 17, 44, 9)
    expected_loss, expected = reference(model, rows)
    model.zero_grad()
    step = stepper(model)
    packed = list(batches.packs(rows, range(6), budget=64))
    assert len(packed) == 2
    total = sum(len(pack.targets) for pack in packed)
    sums = sum((step._accumulate(pack, total) for pack in packed), engine.Sums())
    assert sums.mean_loss == pytest.approx(expected_loss, abs=1e-6)
    for name, weight in model.named_parameters():
        distance = (weight.grad - expected[name]).norm() / expected[name].norm().clamp(min=1e-8)
        assert distance < 1e-5, name


def test_a_sliding_window_is_kept_inside_each_packed_document():
    model, rows = build("mistral", sliding_window=8), rows_of(30, 6, 25)
    expected, _ = reference(model, rows)
    [pack] = batches.packs(rows, range(3), budget=128)
    assert stepper(model).measure(pack).mean_loss == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "extra"),
    [
        ("falcon_mamba", {"state_size": 4, "num_hidden_layers": 1, "time_step_rank": 4}),  # a state runs on
        ("falcon_h1", {}),  # a state beside attention
        ("gemma2", {"head_dim": 8}),  # soft caps
        ("bloom", {}),  # no such attention interface
    ],
)
def test_a_model_that_cannot_be_packed_is_not_and_its_loss_is_still_right(family, extra):
    model, rows = build(family, **extra).eval(), rows_of(9, 12, 7)
    expected, _ = reference(model, rows)
    assert packing.decide(model, rows, {**ENVIRONMENT, "packing": None}) is False
    model.eval()
    [pack] = batches.packs(rows, range(3), budget=64)
    assert stepper(model, packing=False).measure(pack).mean_loss == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("family", "extra"),
    [("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}), ("olmo2", {}), ("granite", {"logits_scaling": 3.0}),
     ("gemma3_text", {"head_dim": 8, "sliding_window": 8})],
)  # fmt: skip
def test_an_unlisted_family_is_packed_when_the_trial_shows_that_it_reads_alike(family, extra):
    model, rows = build(family, **extra).eval(), rows_of(9, 22, 7)
    expected, _ = reference(model, rows)
    assert family not in packing.KNOWN_FAMILIES
    assert packing.decide(model, rows, {**ENVIRONMENT, "packing": None}) is True
    model.eval()
    [pack] = batches.packs(rows, range(3), budget=64)
    assert stepper(model).measure(pack).mean_loss == pytest.approx(expected, abs=1e-6)


def test_a_step_without_any_target_changes_nothing():
    model = build("llama")
    step = stepper(model)
    before = [weight.detach().clone() for weight in model.parameters()]
    sums, norm = step.update(list(batches.packs(rows_of(7, 9, trained=0.0), [0, 1], budget=64)), learning_rate=1.0)
    assert (sums.targets, sums.mean_loss, norm) == (0, 0.0, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_row_without_a_target_beside_others_changes_neither_loss_nor_count():
    model, rows = build("llama"), rows_of(7, 9, trained=0.5)
    with_empty = batches.gather(
        [Encoded(1, rows.ids[:7].tolist(), rows.trained[:7].tolist(), 7), Encoded(2, [5, 6], [True, False], 2)]
    )
    [alone], [beside] = batches.packs(rows, [0], budget=64), batches.packs(with_empty, [0, 1], budget=64)
    assert stepper(model).measure(alone) == stepper(model).measure(beside)


def test_packs_hold_every_target_once_and_stay_within_the_budget():
    rows = rows_of(*range(2, 60))
    packs = list(batches.packs(rows, range(len(rows)), budget=100))
    assert sum(len(pack.targets) for pack in packs) == sum(
        int(rows.trained[rows.starts[row] : rows.starts[row + 1]].sum()) for row in range(len(rows))
    )
    assert all(sum(pack.lengths) <= 100 for pack in packs)
    assert all(pack.ids.shape == pack.positions.shape == (1, sum(pack.lengths)) for pack in packs)


def test_the_gradient_is_clipped_to_the_norm_asked_for():
    model, rows = build("llama"), rows_of(20, 30)
    model_clipped = build("llama")
    packs = list(batches.packs(rows, [0, 1], budget=64))
    plain = engine.Engine(model, torch.optim.SGD(model.parameters(), lr=0.0), ENVIRONMENT, 0.0, Supervised())
    clipped = engine.Engine(
        model_clipped, torch.optim.SGD(model_clipped.parameters(), lr=0.0), ENVIRONMENT, 0.01, Supervised()
    )
    assert models.supports_documents(model)
    assert models.supports_documents(model_clipped)
    before = model_clipped.lm_head.weight.detach().clone()
    _, norm = plain.update(packs, learning_rate=0.0)
    _, reported = clipped.update(packs, learning_rate=1.0)
    assert reported == pytest.approx(norm)
    moved = sum(float((a - b).square().sum()) for a, b in [(before, model_clipped.lm_head.weight.detach())]) ** 0.5
    assert 0 < moved <= 0.0101


def test_weight_decay_spares_biases_and_norms():
    weights = {"matrix": torch.nn.Parameter(torch.ones(2, 2)), "norm": torch.nn.Parameter(torch.ones(2))}
    matrix, norm = engine.optimizer(weights, weight_decay=0.3).param_groups
    assert (matrix["weight_decay"], norm["weight_decay"]) == (0.3, 0.0)
    assert norm["params"][0] is weights["norm"]
