"""Weights that were not made here: every one of them has its place, and nothing else that came along is used."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.trainer.conftest import train_here, write_job
from tests.trainer.process import hashes
from workers.trainer import model as models
from workers.trainer.failures import Failure
from workers.trainer.spec import Base, Hyperparameters

pytestmark = pytest.mark.slow

ON_CPU = {"device": "cpu", "dtype": "float32"}
HOSTILE = {
    "transformers_weights": "other.safetensors",
    "num_labels": 10**9,
    "attention_dropout": 0.9,
    "output_hidden_states": True,
    "dtype": "float64",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "auto_map": {"AutoModelForCausalLM": "somebody/code--modeling.Model"},
    "_attn_implementation": "somebody/kernels",
}
"""What a configuration may say and must not decide."""


@pytest.fixture
def brought(tiny, tmp_path):
    """The base's own weights, as somebody else might bring them: a directory, and how to write it."""
    tensors = load_file(tiny / "model.safetensors")
    place = tmp_path / "brought"
    place.mkdir()

    def write(changes=(), **members):
        kept = {name: each for name, each in {**tensors, **dict(changes)}.items() if each is not None}
        save_file(kept, place / "model.safetensors")
        config = {**json.loads((tiny / "config.json").read_text()), **members}
        (place / "config.json").write_text(json.dumps(config))
        return place

    return write


def whole(tiny, weights):
    return models.load_whole(Base("tiny", str(tiny)), weights, dtype=torch.float32, device="cpu")


def test_of_what_comes_along_only_the_weights_are_used(tiny, brought):
    place = brought({"model.norm.weight": torch.full((32,), 0.5)}, **HOSTILE)
    save_file({"model.norm.weight": torch.zeros(32)}, place / "other.safetensors")
    (place / "config.json").write_bytes((place / "config.json").read_text().encode("utf-16"))
    (place / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.5, "max_new_tokens": 3}')
    loaded = whole(tiny, place)
    assert loaded.model.norm.weight.tolist() == [0.5] * 32
    plain = models.load_base(Base("tiny", str(tiny)), dtype=torch.float32, device="cpu")
    assert loaded.config.to_diff_dict() == plain.config.to_diff_dict()
    assert loaded.generation_config.to_diff_dict() == plain.generation_config.to_diff_dict()


@pytest.mark.parametrize("own", [None, {"do_sample": True, "temperature": 0.7, "top_k": 20, "eos_token_id": [1, 2]}])
def test_a_model_that_is_saved_and_loaded_again_is_saved_with_the_same_bytes(tiny, tmp_path, own):
    place = shutil.copytree(tiny, tmp_path / "base")
    (place / "generation_config.json").unlink()
    if own:
        (place / "generation_config.json").write_text(json.dumps(own))
    base, tokenizer = Base("tiny", str(place)), AutoTokenizer.from_pretrained(place)
    models.save(models.load_base(base, dtype=torch.float32, device="cpu"), tokenizer, tmp_path / "a", base_name="tiny")
    models.save(whole(place, tmp_path / "a"), tokenizer, tmp_path / "b", base_name="tiny")
    assert hashes(tmp_path / "b") == hashes(tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "members", "words"),
    [
        ({"model.norm.weight": None}, {}, "1 tensors .* as model.norm.weight"),
        ({"model.extra.weight": torch.zeros(3)}, {}, "1 tensors .* as model.extra.weight"),
        ({"model.norm.weight": torch.zeros(3)}, {}, "RuntimeError"),
        ({"lm_head.weight": torch.zeros(334, 32)}, {}, "a head of their own"),
        ({}, {"model_type": "qwen2"}, "config.json is not the base model's: model_type 'qwen2' instead of 'llama'"),
        ({}, {"rope_parameters": {"rope_type": "yarn", "rope_theta": 5e5, "factor": 4.0}}, "rope_theta 500000.0 inst"),
    ],
)
def test_weights_that_would_be_filled_up_left_out_or_mean_another_model_are_none_of_the_base(
    tiny, brought, changes, members, words
):
    place = brought(changes, **members)
    with pytest.raises(models.Misfit, match=words):
        whole(tiny, place)


@pytest.mark.parametrize(
    ("config", "words"), [("{", "cannot be"), ("[]", "no JSON object"), ("[" * 10**5, "cannot be")]
)
def test_a_configuration_that_cannot_be_read_is_no_crash(tiny, brought, config, words):
    place = brought()
    (place / "config.json").write_text(config)
    with pytest.raises(models.Misfit, match=words):
        whole(tiny, place)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_job_that_goes_on_from_weights_that_are_no_numbers_fails_by_them_and_not_by_its_rows(
    tiny, brought, tmp_path, kind
):
    start = {"name": "ft:tiny:default:mine:abc", "job_id": None, "path": "start"}
    job = write_job(tmp_path / "job", tiny, valid=0, training_type=kind, start=start)
    weights = brought({"model.norm.weight": torch.full((32,), math.nan)})
    if kind == "lora":
        save_file(adapter(tiny), weights / "adapter_model.safetensors")
    shutil.copytree(weights, job / "start")
    with pytest.raises(Failure, match="has values that are no finite numbers") as failed:
        train_here(job)
    assert failed.value.code == "start_unusable"


def adapter(tiny):
    """An adapter of the job's shape, whose last value is no number."""
    settings = Hyperparameters(1, 1, 1e-3, lora_rank=4, lora_alpha=8)
    made = models.load(Base("tiny", str(tiny)), settings, environment=ON_CPU, weights=None)
    tensors = {name.replace(".default", ""): weight.detach().clone() for name, weight in models.trainable(made).items()}
    tensors[max(tensors)][-1, -1] = math.nan
    return tensors
