"""The spec is read whole, and the trainer knows every hyperparameter that the service resolves."""

import dataclasses
import json

import pytest

from app.core import hyperparameters as core
from tests.trainer.conftest import write_job
from workers.trainer import spec
from workers.trainer.failures import Failure


def names(kind):
    return {field.name for field in dataclasses.fields(kind)}


def test_the_trainer_takes_every_resolved_hyperparameter_and_every_word_the_service_allows():
    assert names(spec.Hyperparameters) == names(core.Hyperparameters) - {"learning_rate_multiplier"}
    assert set(spec.SCHEDULERS) == set(core.LIMITS["scheduler"].choices)
    assert set(spec.TRAINING_TYPES) == set(core.LIMITS["training_type"].choices)


def test_rows_are_cut_at_the_shorter_of_the_wish_and_the_context(tmp_path):
    job = write_job(tmp_path / "job", tmp_path, max_length=9999)
    assert spec.load(job).max_length == 256


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"job_id": "x"})])
def test_a_spec_that_lacks_something_is_named_as_the_cause(tmp_path, content):
    (tmp_path / "spec.json").write_text(content)
    with pytest.raises(Failure, match=r"spec\.json") as failed:
        spec.load(tmp_path)
    assert failed.value.code == "spec_invalid"


@pytest.mark.parametrize("changes", [{"scheduler": "sawtooth"}, {"training_type": "half"}])
def test_a_word_the_trainer_does_not_know_is_refused_before_anything_is_loaded(tmp_path, changes):
    with pytest.raises(Failure) as failed:
        spec.load(write_job(tmp_path / "job", tmp_path, **changes))
    assert failed.value.code == "spec_invalid"
