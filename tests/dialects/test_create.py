"""Creating a job: what is kept of a good body, and what a bad one gets."""

import pytest

from tests.dialects.conftest import JOBS, ROWS, problem

HYPER = "method.supervised.hyperparameters"


def refused(ann, status=400, **members):
    error = problem(ann.create(**members), status)
    assert ann.get(JOBS).json["data"] == []
    return error


def method(**hyperparameters):
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def preferences(**hyperparameters):
    return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}


def test_a_job_begins_with_what_was_asked(ann):
    job = ann.job(suffix="Team 1", seed=7, metadata={"a": "b"}, method=method(n_epochs=3, lora_rank=4))
    row = ann.row(job["id"])
    assert row.spec["hyperparameters"] == {"epochs": 3, "lora_rank": 4}
    assert row.spec["model"] == "tiny/base"
    assert row.spec["base"] == "tiny/base"
    assert row.spec["suffix"] == "Team 1"
    assert row.metadata == {"a": "b"}
    assert job["seed"] == row.spec["seed"] == 7
    assert job["status"] == "validating_files"
    assert job["hyperparameters"] == {
        "n_epochs": 3,
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
        "lora_rank": 4,
    }
    assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": job["hyperparameters"]}}


def test_every_hyperparameter_arrives_under_its_core_name(ann):
    wanted = {
        "n_epochs": ("epochs", 2),
        "batch_size": ("batch_size", 8),
        "learning_rate": ("learning_rate", 0.001),
        "training_type": ("training_type", "full"),
        "lora_rank": ("lora_rank", 8),
        "lora_alpha": ("lora_alpha", 16),
        "lora_dropout": ("lora_dropout", 0.1),
        "lora_target_modules": ("lora_targets", ["q_proj"]),
        "lr_scheduler": ("scheduler", "linear"),
        "warmup_steps": ("warmup_steps", 5),
        "weight_decay": ("weight_decay", 0.01),
        "max_grad_norm": ("max_grad_norm", 2),
        "max_length": ("max_length", 128),
        "eval_steps": ("eval_steps", "auto"),
        "early_stopping_patience": ("early_stopping_patience", 3),
        "early_stopping_delta": ("early_stopping_delta", 0.01),
        "keep_best": ("keep_best", False),
        "eval_carveout": ("eval_carveout", 0.2),
    }
    job = ann.job(method=method(**{wire: value for wire, (_, value) in wanted.items()}))
    assert ann.row(job["id"]).spec["hyperparameters"] == dict(wanted.values())
    assert {wire: job["hyperparameters"][wire] for wire in wanted} == {
        wire: value for wire, (_, value) in wanted.items()
    }


def test_an_alias_is_echoed_and_its_base_is_named(ann):
    job = ann.job(model="gpt-4o-mini")
    assert job["model"] == "gpt-4o-mini"
    assert job["base_model"] == "tiny/base"


def test_a_seed_is_chosen_and_shown_when_none_is_given(ann):
    job = ann.job(seed=None)
    assert 0 <= job["seed"] <= 2**31 - 1
    assert ann.row(job["id"]).spec["seed"] == job["seed"]


def test_the_old_top_level_hyperparameters_are_read_with_our_extras(ann):
    job = ann.job(hyperparameters={"n_epochs": 4, "lora_rank": 2})
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": 4, "lora_rank": 2}


def test_the_method_wins_over_the_old_hyperparameters(ann):
    job = ann.job(hyperparameters={"n_epochs": 4}, method=method(n_epochs=2))
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": 2}


def test_the_old_hyperparameters_hold_when_the_method_says_nothing_of_its_own(ann):
    job = ann.job(hyperparameters={"n_epochs": 4}, method={"type": "supervised"})
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": 4}


def test_members_of_the_method_that_its_type_does_not_name_are_ignored(ann):
    others = {"dpo": {"hyperparameters": {"beta": 99}}, "reinforcement": {"grader": "nonsense"}}
    job = ann.job(method={**method(n_epochs=2), **others})
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": 2}
    assert all(event["level"] == "info" for event in ann.get(f"{JOBS}/{job['id']}/events").json["data"])


def test_auto_stays_auto_and_null_is_as_good_as_nothing(ann):
    job = ann.job(hyperparameters={"n_epochs": "auto", "batch_size": None})
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": "auto"}
    assert job["hyperparameters"]["batch_size"] == "auto"


def test_a_validation_file_is_kept(ann):
    file = ann.file()
    assert ann.job(validation_file=file)["validation_file"] == file


def test_unknown_keys_are_ignored_and_named_in_one_warning(ann):
    job = ann.job(trainingType=1, method={**method(), "flavour": "x"}, x=None)
    warnings = [e for e in ann.get(f"{JOBS}/{job['id']}/events").json["data"] if e["level"] == "warn"]
    assert len(warnings) == 1
    assert warnings[0]["data"]["ignored_keys"] == ["trainingType", "x", "method.flavour"]
    assert "trainingType" in warnings[0]["message"]


def test_an_unknown_model_is_refused_with_the_names_there_are(ann):
    error = refused(ann, model="gpt-5")
    assert error["param"] == "model"
    assert error["code"] == "model_not_available"
    assert "Model gpt-5 is not available for fine-tuning or does not exist" in error["message"]
    assert "tiny/base, gpt-4o-mini" in error["message"]


def test_an_unknown_file_is_refused(ann):
    assert refused(ann, training_file="file-none")["param"] == "training_file"
    assert refused(ann, validation_file="file-none")["param"] == "validation_file"


def test_a_file_of_another_project_is_as_unknown_as_one_that_never_was(ann, bob):
    error = refused(ann, training_file=bob.file())
    assert error["param"] == "training_file"
    assert error["message"].startswith("No such File object")


def test_a_deleted_file_is_refused(ann):
    file = ann.file()
    ann.delete(f"/v1/files/{file}")
    assert refused(ann, training_file=file)["param"] == "training_file"


def test_a_file_of_another_purpose_is_refused(ann):
    error = refused(ann, training_file=ann.file(purpose="assistants"))
    assert error["param"] == "training_file"
    assert "assistants" in error["message"]


@pytest.mark.parametrize("suffix", ["x" * 65, "", "a/b", "a:b", " a", "ä", "a\n", 7, ["a"]])
def test_a_suffix_that_cannot_be_part_of_a_name_is_refused(ann, suffix):
    assert refused(ann, suffix=suffix)["param"] == "suffix"


def test_a_suffix_of_64_characters_is_fine(ann):
    assert ann.job(suffix="x" * 64)["user_provided_suffix"] == "x" * 64


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, "7", True])
def test_a_seed_that_is_no_seed_is_refused(ann, seed):
    assert refused(ann, seed=seed)["param"] == "seed"


@pytest.mark.parametrize(
    "metadata",
    [
        {f"k{n}": "v" for n in range(17)},
        {"k" * 65: "v"},
        {"k": "v" * 513},
        {"k": 1},
        {"k": None},
        {"": "v"},
        ["k"],
        "k",
    ],
)
def test_metadata_over_the_limits_is_refused(ann, metadata):
    assert refused(ann, metadata=metadata)["param"].startswith("metadata")


def test_metadata_at_the_limits_is_kept(ann):
    metadata = {f"{n:064}": "v" * 512 for n in range(16)}
    assert ann.job(metadata=metadata)["metadata"] == metadata


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("model", None),
        ("model", 5),
        ("model", ""),
        ("model", "m" * 257),
        ("training_file", None),
        ("training_file", {"id": "file-1"}),
        ("validation_file", 5),
        ("method", "supervised"),
        ("method", []),
        ("hyperparameters", "auto"),
        ("hyperparameters", [3]),
        ("integrations", "wandb"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(ann, member, value):
    assert refused(ann, **{member: value})["param"] == member


def test_a_wrong_type_deep_inside_is_named_with_dots(ann):
    assert refused(ann, method={"type": "supervised", "supervised": 3})["param"] == "method.supervised"
    assert refused(ann, method={"type": "supervised", "supervised": {"hyperparameters": 3}})["param"] == HYPER


@pytest.mark.parametrize("missing", ["model", "training_file"])
def test_a_missing_member_is_named(ann, missing):
    body = {"model": "tiny/base", "training_file": ann.file()}
    del body[missing]
    assert problem(ann.post(JOBS, body), 400)["param"] == missing


def test_a_repeated_file_may_serve_many_jobs(ann):
    file = ann.file(ROWS)
    assert len({ann.job(training_file=file)["id"] for _ in range(3)}) == 3
