"""Whole weights from elsewhere: whether they are of the architecture of a base model."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import Invalid
from app.core.safetensors import Tensor

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TYPES = ("F32", "F16", "BF16")
ALIKE = (
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "tie_word_embeddings", "n_embd", "n_inner", "n_layer", "n_head", "d_model",
    "num_layers", "num_heads", "hidden_act", "rms_norm_eps", "rope_theta", "rope_type",
)  # fmt: skip
"""Members of a configuration that decide which tensors there are, of which shape, and what is computed with them."""
ROPE = ("rope_parameters", "rope_scaling")
"""What rotary embeddings are, as transformers writes it since 5, and as it did before, beside `rope_theta`."""

CODE = ("auto_map", "attn_implementation", "experts_implementation")
"""Parts of the names of members that name code to load a model with, from the hub if need be."""


def refuse_unknown_kind(config: Mapping[str, Any]) -> None:
    """Raise Invalid for weights that cannot be trained by their configuration alone."""
    if not isinstance(config.get("model_type"), str):
        raise Invalid(f"{CONFIG} names no model_type.")
    if config.get("quantization_config"):
        raise Invalid(f"{CONFIG} has a quantization_config: quantised weights are not trained here.")
    inside: list[Any] = [config]
    while inside:
        for name, value in inside.pop().items():
            if isinstance(value, str | dict) and any(part in name for part in CODE):
                raise Invalid(f"{CONFIG} has the member {name[:64]}, which names code: leave it out.")
            if isinstance(value, dict):
                inside.append(value)


def differences(config: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """In what a configuration is another one than a base model's, in words; only what both say is compared.

    A base that reads more than text is trained as the text model inside, and saved as that.
    """
    inside = base.get("text_config")
    if isinstance(inside, dict) and config.get("model_type") == inside.get("model_type"):
        base = inside
    told, known = _told(config), _told(base)
    both = [name for name in ALIKE if told.get(name) is not None and known.get(name) is not None]
    return [f"{name} {told[name]!r} instead of {known[name]!r}"[:200] for name in both if told[name] != known[name]]


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with its rotary embeddings among the rest; those of several kinds of layers are left alone."""
    if not any(name in config for name in (*ROPE, "rope_theta")):
        return dict(config)
    written: Mapping[str, Any] = next((config[name] for name in ROPE if isinstance(config.get(name), dict)), {})
    if any(isinstance(value, dict) for value in written.values()):
        return {**config, "rope_theta": None, "rope_type": None}
    kind = written.get("rope_type", written.get("type", "default"))
    return {**config, "rope_theta": written.get("rope_theta", config.get("rope_theta")), "rope_type": kind}


def listed_files(index: Mapping[str, Any]) -> dict[str, str]:
    """The file of each tensor, as an index tells it. Raises Invalid."""
    files = index.get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise Invalid(f"{INDEX} has no weight_map, which names the file of each tensor.")
    if not isinstance(index.get("metadata"), dict):
        raise Invalid(f"{INDEX} has no metadata, without which it is not loaded.")
    return files


def check(tensors: Mapping[str, Tensor], base: Mapping[str, Tensor] | None) -> None:
    """Raise Invalid unless the tensors can be trained, and are the base's by name and shape, if those are known."""
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise Invalid(f"'{name[:200]}' is stored as {tensor.dtype}; training takes {', '.join(TYPES)}.")
    if base is None:
        return
    for name in sorted(tensors.keys() | base.keys()):
        if name == "lm_head.weight" and (name not in tensors or name not in base):
            continue  # it may be stored beside the embeddings that it is tied to
        if name not in tensors or name not in base:
            owner = "the base model" if name in base else "these weights"
            raise Invalid(f"'{name[:200]}' is a tensor of {owner} alone.")
        if tensors[name].shape != base[name].shape:
            raise Invalid(
                f"'{name[:200]}' is {list(tensors[name].shape)}; the base model has {list(base[name].shape)} there."
            )
