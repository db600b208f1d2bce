"""Warm starts: a run goes on from tuned weights, to the same bits however often it is killed, and says from what."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.core import adapters, whole_weights
from app.core.safetensors import tensors
from tests.trainer.conftest import of_kind, train_here, write_job, write_preferences
from tests.trainer.process import Trainer, hashes
from tests.trainer.test_dpo import log_probability
from workers.trainer import batches, preparation
from workers.trainer import model as models
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline

pytestmark = pytest.mark.slow

FILES = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}
BEFORE = {"model": "ft:tiny:default::before", "job_id": "ftjob-before", "sha256": {"x": "0" * 64}}


@pytest.fixture(scope="module", params=["lora", "full"])
def parent(request, tiny, tmp_path_factory):
    """A training type, and a job of that type that has learned."""
    place = tmp_path_factory.mktemp("parent") / "job"
    job = write_job(place, tiny, valid=0, training_type=request.param, learning_rate=0.02)
    train_here(job)
    return request.param, job


def warm(parent, directory, tiny, *, write=write_job, **changes):
    """A job that goes on from the parent; `changes` are those of `write_job`, and `base_hash`."""
    training_type, trained = parent
    start = {
        "name": "ft:tiny:default::abc", "job_id": "ftjob-parent", "path": "start", "parents": [BEFORE],
        "base_hash": changes.pop("base_hash", None),
    }  # fmt: skip
    job = write(directory, tiny, training_type=training_type, start=start, **changes)
    shutil.copytree(trained / "model", job / "start")
    return job


def test_what_training_makes_is_taken_as_weights_from_elsewhere(parent, tiny):
    made = parent[1] / "model"
    found, of_base = (headers(path) for path in (made / FILES[parent[0]], tiny / FILES["full"]))
    if parent[0] == "lora":
        shape = adapters.shape(json.loads((made / "adapter_config.json").read_text()))
        assert (shape["lora_rank"], shape["lora_alpha"]) == (4, 8)
        adapters.check(shape, found, of_base)
    else:
        configs = [json.loads((place / "config.json").read_text()) for place in (made, tiny)]
        whole_weights.refuse_unknown_kind(configs[0])
        assert whole_weights.differences(*configs) == []
        whole_weights.check(found, of_base)


def headers(path):
    with path.open("rb") as opened:
        return tensors(opened, path.stat().st_size)


def test_the_first_step_begins_with_the_parents_weights(parent, tiny, tmp_path):
    run = preparation.prepare(warm(parent, tmp_path / "job", tiny), Lifeline(), lambda line: None)
    expected = load_file(parent[1] / "model" / FILES[parent[0]])
    begun = {name.replace(".default", ""): weight for name, weight in models.trainable(run.engine.model).items()}
    assert begun.keys() == expected.keys()
    assert all(torch.equal(begun[name], weight) for name, weight in expected.items())


def test_a_warm_run_killed_before_and_behind_a_checkpoint_ends_with_the_undisturbed_bytes(parent, tiny, tmp_path):
    changes = {"valid": 0, "lora_dropout": 0.1, "rows": 40}
    undisturbed, disturbed = (warm(parent, tmp_path / name, tiny, **changes) for name in ("plain", "killed"))
    plain = train_here(undisturbed)
    for step in (3, 12):  # the first checkpoint is that of step 10
        with Trainer(disturbed) as trainer:
            trainer.until("metrics", step)
            trainer.process.kill()
    lines = train_here(disturbed)
    assert of_kind(lines, "started")[0]["resumed_from"] == 10
    assert hashes(disturbed / "model") == hashes(undisturbed / "model")
    assert lines[-1]["manifest"] == plain[-1]["manifest"]
    assert hashes(undisturbed / "model")[FILES[parent[0]]] != hashes(parent[1] / "model")[FILES[parent[0]]]


@pytest.mark.parametrize("parent", ["lora"], indirect=True)
def test_a_run_that_an_earlier_version_began_from_the_base_begins_again_from_the_parent(parent, tiny, tmp_path):
    begun, undisturbed = (warm(parent, tmp_path / name, tiny, valid=0, epochs=1) for name in ("begun", "plain"))
    spec = (begun / "spec.json").read_text()
    (begun / "spec.json").write_text(json.dumps({**json.loads(spec), "start": None}))
    train_here(begun)
    (begun / "spec.json").write_text(spec)
    assert of_kind(train_here(begun), "started")[0]["resumed_from"] is None
    train_here(undisturbed)
    assert hashes(begun / "model") == hashes(undisturbed / "model")


def test_the_manifest_names_the_parent_by_the_hash_of_its_weights_and_those_before_it(parent, tiny, tmp_path):
    [done] = of_kind(train_here(warm(parent, tmp_path / "job", tiny, valid=0, epochs=1)), "done")
    file = FILES[parent[0]]
    nearest = {
        "model": "ft:tiny:default::abc", "job_id": "ftjob-parent", "sha256": {file: hashes(parent[1] / "model")[file]},
    }  # fmt: skip
    assert done["manifest"]["parents"] == [nearest, BEFORE]
    assert done["manifest"]["base_model"] == "tiny"
    if parent[0] == "lora":
        config = json.loads((tmp_path / "job" / "model" / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "tiny"


def test_answers_are_compared_with_those_of_the_base_underneath(parent, tiny, tmp_path):
    job = warm(parent, tmp_path / "warm", tiny, epochs=1)
    cold = write_job(tmp_path / "cold", tiny, epochs=1)
    for each in (job, cold):
        train_here(each)
    of_base, of_cold_base = (
        [json.loads(line)["base"] for line in (each / "answers.jsonl").read_text().splitlines()] for each in (job, cold)
    )
    assert of_base == of_cold_base


def test_the_reference_of_preferences_is_what_the_parents_weights_say(parent, tiny, tmp_path):
    job = warm(parent, tmp_path / "job", tiny, write=write_preferences, epochs=1)
    run = preparation.prepare(job, Lifeline(), lambda line: None)
    with models.plain_attention(run.engine.model):
        run.engine.model.eval()
        fill(run.engine.model, load_file(parent[1] / "model" / FILES[parent[0]]))
        alone = [
            log_probability(run.engine.model, run.train.ids[start:end], run.train.trained[start:end])
            for start, end in batches.bounds(np.diff(run.train.starts))
        ]
    assert run.train.reference == pytest.approx(alone, abs=1e-4)
    cold = write_preferences(tmp_path / "cold", tiny, training_type=parent[0])
    of_base = preparation.prepare(cold, Lifeline(), lambda line: None).train.reference
    assert np.abs(run.train.reference - of_base).min() > 1e-3
    first, *_ = of_kind(train_here(job), "metrics")
    assert first["train_loss"] == pytest.approx(math.log(2), abs=1e-5)


def fill(model, weights):
    named = {name.replace(".default", ""): weight for name, weight in model.named_parameters()}
    with torch.no_grad():
        for name, weight in weights.items():
            named[name].copy_(weight)


def without_a_layer(file):
    weights = load_file(file)
    save_file({name: weight for name, weight in weights.items() if "layers.0" not in name}, file)


@pytest.mark.parametrize(
    ("spoil", "changes", "code"),
    [
        (lambda start: None, {"lora_rank": 2}, "start_unusable"),
        (lambda start: None, {"lora_targets": ["q_proj"]}, "start_unusable"),
        (lambda start: without_a_layer(start / FILES["lora"]), {}, "start_unusable"),
        (lambda start: (start / FILES["lora"]).write_bytes(b"{"), {}, "start_unusable"),
        (shutil.rmtree, {}, "start_unusable"),
        (lambda start: None, {"base_hash": "0" * 64}, "start_of_another_base"),
    ],
)
@pytest.mark.parametrize("parent", ["lora"], indirect=True)
def test_weights_that_cannot_be_gone_on_from_fail_the_job_by_name(parent, tiny, tmp_path, spoil, changes, code):
    job = warm(parent, tmp_path / "job", tiny, **changes)
    spoil(job / "start")
    with pytest.raises(Failure, match=r"ft:tiny:default::abc") as failed:
        train_here(job)
    assert (failed.value.code, failed.value.param) == (code, "model")


@pytest.mark.parametrize("parent", ["full"], indirect=True)
def test_broken_full_weights_fail_the_job_by_name(parent, tiny, tmp_path):
    job = warm(parent, tmp_path / "job", tiny)
    (job / "start" / FILES["full"]).write_bytes(b"{")
    with pytest.raises(Failure, match=r"ft:tiny:default::abc") as failed:
        train_here(job)
    assert failed.value.code == "start_unusable"
