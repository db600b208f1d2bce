"""What a hyperparameter may be, and what auto becomes."""

import math

import pytest

from app.core.hyperparameters import LIMITS, BaseModel, Hyperparameters, conflict, resolve

BASE = BaseModel(
    name="tiny",
    source="./tiny",
    revision=None,
    identity="",
    aliases=(),
    training_type="lora",
    learning_rates={"lora": 0.01, "full": 0.001},
    queue="",
    context_length=512,
    memory={},
    description="",
)


def resolved(rows: int = 100, method: str = "supervised", **asked: object) -> Hyperparameters:
    return resolve(asked, BASE, method=method, rows=rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1),
        ("epochs", 50),
        ("batch_size", 256),
        ("learning_rate_multiplier", 0.1),
        ("training_type", "full"),
        ("lora_dropout", 0),
        ("lora_targets", ["q_proj"]),
        ("scheduler", "linear"),
        ("warmup_steps", 0),
        ("beta", 2),
        ("beta", 0.01),
        ("early_stopping_patience", 0),
        ("early_stopping_delta", 0.5),
        ("keep_best", False),
        ("eval_carveout", 0.5),
    ],
)
def test_a_value_within_its_limit_is_taken(name, value):
    assert LIMITS[name].accepts(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 51),
        ("epochs", 1.5),
        ("epochs", True),
        ("epochs", "3"),
        ("batch_size", 257),
        ("learning_rate_multiplier", 0),
        ("learning_rate_multiplier", math.nan),
        ("learning_rate_multiplier", 10**400),
        ("epochs", 10**400),
        ("learning_rate", math.inf),
        ("training_type", "qlora"),
        ("beta", 0),
        ("beta", 2.1),
        ("lora_targets", []),
        ("lora_targets", "q_proj"),
        ("lora_targets", ["a\nb"]),
        ("scheduler", ["linear"]),
        ("early_stopping_patience", True),
        ("early_stopping_delta", -0.1),
        ("keep_best", 1),
        ("keep_best", "true"),
        ("eval_carveout", 0.6),
    ],
)
def test_a_value_outside_its_limit_is_refused(name, value):
    assert not LIMITS[name].accepts(value)


def test_the_multiplier_multiplies_the_catalogues_rate():
    assert resolved(learning_rate_multiplier=2).learning_rate == pytest.approx(0.02)


def test_full_training_has_its_own_base_rate():
    assert resolved(training_type="full").learning_rate == 0.001


def test_an_absolute_learning_rate_is_taken_as_it_is():
    assert resolved(learning_rate=0.5).learning_rate == 0.5


def test_auto_is_the_same_as_not_asking():
    assert resolved(epochs="auto", batch_size="auto") == resolved()


def test_alpha_follows_the_rank():
    assert resolved(lora_rank=4).lora_alpha == 8


def test_rows_are_never_longer_than_the_models_context():
    assert resolved(max_length=4096).max_length == 512


def test_preferences_are_learned_at_a_tenth_of_the_rate_unless_told_otherwise():
    assert resolved(method="dpo").learning_rate == pytest.approx(0.001)
    assert resolved(method="dpo", learning_rate_multiplier=1).learning_rate == pytest.approx(0.01)
    assert resolved(method="dpo", learning_rate=0.5).learning_rate == 0.5


def test_only_preference_training_has_a_beta():
    assert resolved(method="dpo").as_dict()["beta"] == resolved(method="dpo", beta="auto").beta == 0.1
    assert resolved(method="dpo", beta=0.3).beta == 0.3
    assert "beta" not in resolved(beta=0.3).as_dict()


@pytest.mark.parametrize("method", ["supervised", "dpo"])
@pytest.mark.parametrize("rows", [1, 9, 40, 600, 10_000_000])
def test_auto_is_a_legal_value_for_any_number_of_rows(rows, method):
    found = resolved(rows, method)
    assert all(LIMITS[name].accepts(value) for name, value in found.as_dict().items())


def test_steps_count_the_last_short_batch():
    assert resolved(epochs=2, batch_size=4).total_steps(9) == 6


def test_rows_that_are_held_out_make_no_steps_and_count_for_no_automatic_number():
    found = resolved(rows=100, eval_carveout=0.2, epochs=2)
    assert (found.batch_size, found.warmup_steps) == (resolved(rows=80).batch_size, 4)
    assert found.total_steps(100) == resolved(rows=80, epochs=2).total_steps(80) == 80


def test_whoever_asks_for_patience_gets_the_best_checkpoint_unless_told_otherwise():
    assert (resolved().keep_best, resolved(early_stopping_patience=2).keep_best) == (False, True)
    assert resolved(early_stopping_patience=2, keep_best="auto").keep_best
    assert not resolved(early_stopping_patience=2, keep_best=False).keep_best


@pytest.mark.parametrize(
    ("asked", "validation_file", "name"),
    [
        ({"early_stopping_patience": 1}, False, "early_stopping_patience"),
        ({"early_stopping_patience": 1}, True, None),
        ({"early_stopping_patience": 1, "eval_carveout": 0.1}, False, None),
        ({"keep_best": True}, False, "keep_best"),
        ({"keep_best": True, "eval_carveout": "auto"}, False, "keep_best"),
        ({"keep_best": False, "early_stopping_patience": 0}, False, None),
        ({"eval_carveout": 0.1}, True, "eval_carveout"),
        ({"eval_carveout": 0}, True, None),
        ({"early_stopping_delta": 0.1}, True, "early_stopping_delta"),
        ({"early_stopping_delta": 0.1, "early_stopping_patience": "auto"}, True, "early_stopping_delta"),
        ({"early_stopping_delta": 0.1, "early_stopping_patience": 3}, True, None),
        ({}, False, None),
    ],
)
def test_what_makes_no_sense_together_is_named(asked, validation_file, name):
    found = conflict(asked, validation_file=validation_file)
    assert (found and found[0]) == name


def test_every_limit_is_a_field_of_the_resolved_ones():
    assert set(LIMITS) == set(Hyperparameters.__dataclass_fields__)
