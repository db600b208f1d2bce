"""Creating a job: hyperparameters, each within its limits, alone and beside the others."""

import pytest

from tests.dialects.test_create import HYPER, method, preferences, refused


@pytest.mark.parametrize("value", [0, 51, -1, 1.5, "3", True, [1], {}, "AUTO", 10**30])
def test_epochs_outside_one_to_fifty_are_refused(ann, value):
    error = refused(ann, method=method(n_epochs=value))
    assert error["param"].startswith(f"{HYPER}.n_epochs")


def test_a_bound_of_a_hyperparameter_is_said_in_the_error(ann):
    assert "an integer from 1 to 50" in refused(ann, hyperparameters={"n_epochs": 51})["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 257),
        ("learning_rate_multiplier", 0),
        ("learning_rate", 2),
        ("training_type", "qlora"),
        ("lora_rank", 0),
        ("lora_dropout", 1),
        ("lora_target_modules", "all-linear"),
        ("lora_target_modules", []),
        ("lora_target_modules", [1]),
        ("lr_scheduler", "step"),
        ("warmup_steps", -1),
        ("max_length", 1),
        ("max_grad_norm", 0),
        ("eval_steps", -1),
        ("early_stopping_patience", 1001),
        ("early_stopping_delta", -1),
        ("keep_best", "yes"),
        ("eval_carveout", 0.51),
    ],
)
def test_a_hyperparameter_outside_its_limits_is_refused_by_name(ann, name, value):
    assert refused(ann, hyperparameters={name: value})["param"] == f"hyperparameters.{name}"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"early_stopping_patience": 2}, "early_stopping_patience"),
        ({"keep_best": True}, "keep_best"),
        ({"early_stopping_delta": 0.1, "eval_carveout": 0.1}, "early_stopping_delta"),
    ],
)
def test_what_needs_validation_rows_or_another_knob_is_refused_by_name_wherever_it_stands(ann, asked, param):
    assert refused(ann, hyperparameters=asked)["param"] == f"hyperparameters.{param}"
    error = refused(ann, method=preferences(**asked))
    assert error["param"] == f"method.dpo.hyperparameters.{param}"
    assert "eval_carveout" in error["message"] or "patience" in error["message"]


def test_rows_are_held_out_or_come_in_a_file_of_their_own(ann):
    error = refused(ann, method=method(eval_carveout=0.1), validation_file=ann.file())
    assert error["param"] == f"{HYPER}.eval_carveout"
    assert "validation_file" in error["message"]
    ann.job(method=method(keep_best=True, early_stopping_patience=1), validation_file=ann.file())


def test_an_unknown_hyperparameter_is_refused_with_the_known_ones(ann):
    error = refused(ann, method=method(n_epoch=3))
    assert error["param"] == f"{HYPER}.n_epoch"
    assert "n_epochs, batch_size" in error["message"]


def test_a_rate_and_a_multiplier_exclude_each_other(ann):
    error = refused(ann, method=method(learning_rate=1e-4, learning_rate_multiplier=2))
    assert error["param"] == f"{HYPER}.learning_rate"


def test_a_rate_beside_an_automatic_multiplier_is_fine(ann):
    ann.job(method=method(learning_rate=1e-4, learning_rate_multiplier="auto"))
