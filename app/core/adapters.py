"""LoRA adapters from elsewhere: whether training here would make one of such a configuration and such tensors."""

import re
from collections.abc import Mapping
from typing import Any

from app.core.errors import Invalid
from app.core.hyperparameters import LIMITS
from app.core.safetensors import Tensor

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HARMLESS = {
    "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r",
    "lora_alpha", "lora_dropout", "target_modules", "task_type", "bias", "init_lora_weights", "fan_in_fan_out",
    "megatron_core", "qalora_group_size", "runtime_config",
}  # fmt: skip
"""Members of a configuration that are looked at, or change no weight; whatever else is set makes another adapter."""
WORDS = {
    "bias": ("none", None),
    "task_type": ("CAUSAL_LM", None),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal"),
}
NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
ALL = "all-linear"
TYPES = ("F32", "F16", "BF16")


def shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that an adapter has by its making. Raises Invalid for one that is not made here."""
    if config.get("peft_type") != "LORA":
        raise Invalid(f"{CONFIG}: peft_type is {config.get('peft_type')!r}; adapters here are LORA.")
    if others := sorted(name for name, value in config.items() if name not in HARMLESS and _is_set(value)):
        named = ", ".join(name[:64] for name in others[:5])
        raise Invalid(f"{CONFIG} sets {named}: training here knows plain LoRA alone, and would go on without it.")
    for name, words in WORDS.items():
        if config.get(name) not in words:
            raise Invalid(f"{CONFIG}: {name} is {config[name]!r:.64}; it can be {' or '.join(map(repr, words))}.")
    targets = config.get("target_modules")
    found = {
        "lora_rank": config.get("r"),
        "lora_alpha": config.get("lora_alpha"),
        "lora_targets": sorted(targets, key=str) if isinstance(targets, list) else targets,
    }
    for name, written in (("lora_rank", "r"), ("lora_alpha", "lora_alpha"), ("lora_targets", "target_modules")):
        if not LIMITS[name].accepts(found[name]):
            raise Invalid(f"{CONFIG}: {written} must be {LIMITS[name].text}.")
    return {"training_type": "lora", **found}


def _is_set(value: object) -> bool:
    """Whether a member says anything; 0 does: it may be a layer's number."""
    return value is not None and value is not False and value not in ("", [], {})


def check(shape: Mapping[str, Any], tensors: Mapping[str, Tensor], base: Mapping[str, Tensor] | None) -> None:
    """Raise Invalid unless the tensors are an adapter of this shape, for the base with these tensors, if known."""
    modules = _modules(tensors, shape["lora_rank"])
    targets: list[str] = shape["lora_targets"]
    for target in targets:
        if not any(_is_aimed_at(module, target) for module in modules):
            raise Invalid(f"{CONFIG} names the module '{target[:64]}', of which {WEIGHTS} has no tensor.")
    if stray := [module for module in modules if not any(_is_aimed_at(module, target) for target in targets)]:
        raise Invalid(f"{WEIGHTS} has tensors of '{stray[0][:200]}', which {CONFIG} does not name.")
    if base is not None:
        _must_fit(modules, targets, base)


def _modules(tensors: Mapping[str, Tensor], rank: int) -> dict[str, tuple[int, int]]:
    """Width out and in of each module that the adapter is on."""
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in tensors.items():
        found = NAME.fullmatch(name)
        if found is None or tensor.dtype not in TYPES or len(tensor.shape) != 2:
            raise Invalid(f"{WEIGHTS}: '{name[:200]}' ({tensor.dtype}) is no half of a LoRA module in {_types()}.")
        halves.setdefault(found["module"], {})[found["half"]] = tensor.shape
    made = {}
    for module, both in halves.items():
        if set(both) != {"A", "B"}:
            raise Invalid(f"{WEIGHTS} has only one of lora_A and lora_B of '{module[:200]}'.")
        if (both["A"][0], both["B"][1]) != (rank, rank):
            raise Invalid(
                f"{WEIGHTS}: '{module[:200]}' has the rank {both['A'][0]} and {both['B'][1]}, and {CONFIG} says {rank}."
            )
        made[module] = (both["B"][0], both["A"][1])
    return made


def _types() -> str:
    return ", ".join(TYPES)


def _is_aimed_at(module: str, target: str) -> bool:
    return target == ALL or module == target or module.endswith(f".{target}")


def _must_fit(modules: Mapping[str, tuple[int, int]], targets: list[str], base: Mapping[str, Tensor]) -> None:
    """Compare with the base's matrices. A base that is stored under other names than it runs with is left alone."""
    matrices = {
        name.removesuffix(".weight"): tensor.shape
        for name, tensor in base.items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }
    if modules.keys().isdisjoint(matrices):
        return
    for module, widths in modules.items():
        if sorted(widths) != sorted(matrices.get(module, ())):
            has = f"{list(matrices[module])}" if module in matrices else "none"
            raise Invalid(f"{WEIGHTS}: '{module[:200]}' is {list(widths)}; the base model has {has} there.")
    named = [target for target in targets if target != ALL]
    aimed = [module for module in matrices if any(_is_aimed_at(module, target) for target in named)]
    if missing := [module for module in aimed if module not in modules]:
        raise Invalid(f"{WEIGHTS} has no tensors of '{missing[0]}', which {CONFIG} names and the base model has.")
