"""Creating a job: its method, and what belongs to each alone."""

import pytest

from tests.dialects.conftest import JOBS
from tests.dialects.test_create import HYPER, method, preferences, refused


def test_methods_of_later_versions_are_refused_by_name(ann):
    error = refused(ann, method={"type": "reinforcement", "reinforcement": {}})
    assert error["param"] == "method.type"
    assert "later version" in error["message"]


def test_a_preference_job_keeps_its_beta_and_shows_it(ann):
    job = ann.job(method=preferences(beta=0.3, n_epochs=2, lora_rank=4))
    row = ann.row(job["id"])
    assert row.spec["method"] == "dpo"
    assert row.spec["hyperparameters"] == {"beta": 0.3, "epochs": 2, "lora_rank": 4}
    shown = job["method"]["dpo"]["hyperparameters"]
    assert (job["method"]["type"], shown["beta"], shown["n_epochs"]) == ("dpo", 0.3, 2)
    assert "supervised" not in job["method"]


def test_beta_is_automatic_where_nothing_is_said(ann):
    for silent in ({"type": "dpo"}, {"type": "dpo", "dpo": None}, preferences(beta="auto")):
        job = ann.job(method=silent)
        assert job["method"]["dpo"]["hyperparameters"]["beta"] == "auto"
        assert ann.row(job["id"]).spec["method"] == "dpo"


@pytest.mark.parametrize("beta", [0, -1, 2.5, "high", True, [0.1]])
def test_a_beta_outside_its_limits_is_refused(ann, beta):
    error = refused(ann, method=preferences(beta=beta))
    assert error["param"] == "method.dpo.hyperparameters.beta"
    assert "at most 2" in error["message"]


def test_supervised_training_has_no_beta(ann):
    assert refused(ann, method=method(beta=0.1))["param"] == f"{HYPER}.beta"


def test_a_preference_job_ignores_what_stands_beside_its_own_member(ann):
    others = {"supervised": {"hyperparameters": {"n_epochs": "many", "x": 1}}, "reinforcement": 3}
    job = ann.job(method={**preferences(n_epochs=2), **others})
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": 2}
    assert all(event["level"] == "info" for event in ann.get(f"{JOBS}/{job['id']}/events").json["data"])


def test_an_unknown_key_of_the_preference_member_is_named_in_a_warning(ann):
    job = ann.job(method={"type": "dpo", "dpo": {"flavour": "x"}})
    [warning] = [e for e in ann.get(f"{JOBS}/{job['id']}/events").json["data"] if e["level"] == "warn"]
    assert warning["data"]["ignored_keys"] == ["method.dpo.flavour"]


def test_the_old_hyperparameters_hold_for_preferences_too_when_the_method_says_nothing(ann):
    job = ann.job(hyperparameters={"n_epochs": 4}, method={"type": "dpo"})
    assert ann.row(job["id"]).spec["hyperparameters"] == {"epochs": 4}


def test_an_unknown_method_is_refused(ann):
    assert refused(ann, method={"type": "magic"})["param"] == "method.type"
    assert refused(ann, method={})["param"] == "method.type"


def test_integrations_are_refused_unless_there_are_none(ann):
    assert refused(ann, integrations=[{"type": "wandb", "wandb": {"project": "p"}}])["param"] == "integrations"
    ann.job(integrations=[])
