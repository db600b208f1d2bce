"""Adapters and whole weights from elsewhere: what training here would have made is taken, all else named."""

import pytest

from app.core import adapters, whole_weights
from app.core.errors import Invalid
from app.core.safetensors import Tensor
from tests.core.weights import ADAPTER, CONFIG

SHAPE = {"training_type": "lora", "lora_rank": 4, "lora_alpha": 8, "lora_targets": ["q_proj", "v_proj"]}
TENSORS = {name: Tensor("F32", shape) for name, shape in ADAPTER.items()}
BASE = {
    f"model.layers.{layer}.self_attn.{target}.weight": Tensor("BF16", (width, 32))
    for layer in (0, 1)
    for target, width in (("q_proj", 32), ("v_proj", 16), ("k_proj", 16))
}
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def test_a_plain_configuration_tells_the_shape():
    assert (
        adapters.shape({**CONFIG, "target_modules": ["v_proj", "q_proj"], "use_dora": False, "bias": "none"}) == SHAPE
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
        ({"use_dora": True}, "sets use_dora"),
        ({"use_rslora": True, "modules_to_save": ["lm_head"]}, "sets modules_to_save, use_rslora"),
        ({"rank_pattern": {"q_proj": 8}}, "sets rank_pattern"),
        ({"something_new": 1}, "sets something_new"),
        ({"layers_to_transform": 0}, "sets layers_to_transform"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"r": 0}, "r must be an integer from 1 to 512"),
        ({"r": "4"}, "r must be"),
        ({"lora_alpha": None}, "lora_alpha must be"),
        ({"target_modules": ".*_proj"}, "target_modules must be a list"),
        ({"target_modules": [["q_proj"], 3]}, "target_modules must be a list"),
    ],
)
def test_an_adapter_of_another_making_is_refused_by_the_member_that_says_so(change, words):
    with pytest.raises(Invalid, match=words):
        adapters.shape({**CONFIG, **change})


@pytest.mark.parametrize("base", [None, BASE, {"h.0.attn.weight": Tensor("F32", (32, 32))}])
def test_an_adapter_of_the_shape_that_it_tells_is_taken(base):
    adapters.check(SHAPE, TENSORS, base)


@pytest.mark.parametrize(
    ("tensors", "shape", "words"),
    [
        ({**TENSORS, "lm_head.weight": Tensor("F32", (8, 8))}, {}, "'lm_head.weight' .* is no half of a LoRA module"),
        ({**TENSORS, FIRST: Tensor("I8", (4, 32))}, {}, r"\(I8\) is no half"),
        ({name: each for name, each in TENSORS.items() if name != FIRST}, {}, "only one of lora_A and lora_B"),
        ({**TENSORS, FIRST: Tensor("F32", (8, 32))}, {}, "has the rank 8 and 4"),
        (TENSORS, {"lora_rank": 8}, "has the rank 4 and 4, and adapter_config.json says 8"),
        (TENSORS, {"lora_targets": ["q_proj", "o_proj", "v_proj"]}, "names the module 'o_proj'"),
        (TENSORS, {"lora_targets": ["q_proj"]}, "v_proj', which adapter_config.json does not name"),
    ],
)
def test_tensors_that_the_configuration_does_not_tell_of_are_refused(tensors, shape, words):
    with pytest.raises(Invalid, match=words):
        adapters.check({**SHAPE, **shape}, tensors, None)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({**BASE, "model.layers.0.self_attn.q_proj.weight": Tensor("F32", (64, 64))}, r"\[32, 32\]; .* has \[64, 64\]"),
        ({name: each for name, each in BASE.items() if "layers.1" not in name}, "the base model has none there"),
        (
            {**BASE, "model.layers.2.self_attn.q_proj.weight": Tensor("F32", (32, 32))},
            "has no tensors of 'model.layers.2",
        ),
    ],
)
def test_an_adapter_of_a_larger_or_a_smaller_base_is_refused(base, words):
    with pytest.raises(Invalid, match=words):
        adapters.check(SHAPE, TENSORS, base)


def test_architectures_are_compared_by_what_both_tell():
    base = {"model_type": "llama", "hidden_size": 32, "vocab_size": 400, "head_dim": 8}
    assert whole_weights.differences({"model_type": "llama", "hidden_size": 32, "rope_theta": 1.0}, base) == []
    other = {"model_type": "qwen2", "hidden_size": 32, "vocab_size": 500}
    assert whole_weights.differences(other, base) == [
        "model_type 'qwen2' instead of 'llama'",
        "vocab_size 500 instead of 400",
    ]


@pytest.mark.parametrize(
    ("config", "base", "words"),
    [
        (
            {"rope_theta": 1e6, "rope_scaling": None},
            {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
            [],
        ),
        ({"rope_theta": 1e6}, {"rope_theta": 1e4}, ["rope_theta 1000000.0 instead of 10000.0"]),
        (
            {"rope_theta": 1e6, "rope_scaling": {"type": "yarn", "factor": 4.0}},
            {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
            ["rope_type 'yarn' instead of 'default'"],
        ),
        ({"rope_theta": 1e6}, {"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, []),
        ({}, {"rope_theta": 1e4}, []),
        ({"model_type": "a_text", "n_head": 2}, {"model_type": "a", "text_config": {"model_type": "a_text"}}, []),
        (
            {"model_type": "a_text", "n_head": 2},
            {"model_type": "a", "text_config": {"model_type": "a_text", "n_head": 4}},
            ["n_head 2 instead of 4"],
        ),
    ],
)
def test_rotary_embeddings_and_text_models_inside_are_compared_however_they_are_written(config, base, words):
    assert whole_weights.differences(config, base) == words


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": 1},
        {"model_type": "llama", "quantization_config": {"bits": 4}},
        {"model_type": "llama", "auto_map": {"AutoModel": "modeling.Llama"}},
        {"model_type": "llama", "text_config": {"_attn_implementation_internal": "somebody/kernels"}},
    ],
)
def test_weights_of_no_kind_quantised_ones_and_those_that_bring_code_are_refused(config):
    with pytest.raises(Invalid, match=r"config\.json"):
        whole_weights.refuse_unknown_kind(config)


def test_a_configuration_may_say_that_it_names_no_attention():
    whole_weights.refuse_unknown_kind({"model_type": "llama", "_attn_implementation_autoset": True})


def test_an_index_names_the_file_of_each_tensor_and_is_loaded_with_metadata_alone():
    index = {"weight_map": {"a": "model-1.safetensors"}}
    assert whole_weights.listed_files({**index, "metadata": {}}) == index["weight_map"]
    with pytest.raises(Invalid, match="metadata"):
        whole_weights.listed_files(index)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, {"weight_map": {"a": 1}}])
def test_an_index_without_files_is_refused(index):
    with pytest.raises(Invalid, match="weight_map"):
        whole_weights.listed_files(index)


def test_a_head_that_is_tied_may_be_stored_or_not():
    whole_weights.check({**BASE, "lm_head.weight": Tensor("F32", (400, 32))}, BASE)
    whole_weights.check(BASE, {**BASE, "lm_head.weight": Tensor("F32", (400, 32))})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.norm.weight": Tensor("F32", (32,))}, "is a tensor of these weights alone"),
        ({"model.layers.0.self_attn.q_proj.weight": Tensor("F32", (16, 32))}, r"is \[16, 32\]; .* has \[32, 32\]"),
        ({"model.layers.0.self_attn.q_proj.weight": Tensor("F8_E4M3", (32, 32))}, "is stored as F8_E4M3"),
    ],
)
def test_whole_weights_that_are_not_the_bases_are_refused(change, words):
    with pytest.raises(Invalid, match=words):
        whole_weights.check({**BASE, **change}, BASE)
    few = {name: each for name, each in BASE.items() if "layers.1" not in name}
    with pytest.raises(Invalid, match="is a tensor of the base model alone"):
        whole_weights.check(few, BASE)
