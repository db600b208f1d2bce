"""Loading the base model and making it trainable: LoRA adapters by peft, or all weights; saving either."""

import inspect
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging as transformers_logging

from app.core import whole_weights
from workers.trainer import attention, templates
from workers.trainer.failures import Failure, is_out_of_memory
from workers.trainer.spec import Base, Hyperparameters

ADAPTER_FILE = "adapter_model.safetensors"
MODE = 0o644
transformers_logging.disable_progress_bar()


class Misfit(Exception):
    """Weights are not of the model that they are for; the message says why."""


def count_parameters(base: Base) -> int:
    """Parameters of the model by its configuration alone, no weight read."""
    try:
        config = AutoConfig.from_pretrained(base.source, revision=base.revision, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise templates.load_failed(base, error) from error
    return sum(parameter.numel() for parameter in model.parameters())


def load_base(base: Base, *, dtype: torch.dtype, device: str) -> Any:
    """The causal model as the catalogue names it. Raises Failure `model_load_failed`."""
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base.source, revision=base.revision, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise templates.load_failed(base, error) from error
    return model.to(device)


def load_whole(base: Base, weights: Path, *, dtype: torch.dtype, device: str) -> Any:
    """The causal model with every weight from a directory, and with the base's configuration.

    One that came with weights may name other files, another model, or what no machine holds: it is compared, not used.
    Raises Failure `model_load_failed`, and Misfit.
    """
    config, generation = _configuration(base)
    _refuse_other(weights / whole_weights.CONFIG, config)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            weights,
            config=config,
            generation_config=generation,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise Misfit(f"{type(error).__name__}: {str(error)[:300]}") from error
    if others := sorted({*found["missing_keys"], *found["unexpected_keys"]}):
        raise Misfit(f"{len(others)} tensors are in one of them and the base model alone, as {others[0][:200]}.")
    if getattr(config, "tie_word_embeddings", False) and not _is_tied(model):
        raise Misfit("they have a head of their own, and the base model's is tied to its embeddings.")
    return model.to(device)


def _is_tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _configuration(base: Base) -> tuple[Any, GenerationConfig]:
    """What the base says of itself, and of how it generates. Raises Failure `model_load_failed`."""
    try:
        config = AutoConfig.from_pretrained(base.source, revision=base.revision, trust_remote_code=False)
    except Exception as error:
        raise templates.load_failed(base, error) from error
    try:
        return config, GenerationConfig.from_pretrained(base.source, revision=base.revision)
    except OSError:  # it has none of its own: then its configuration says it, read as transformers itself does
        read = {"config_file_name": whole_weights.CONFIG, "_from_model_config": True}
        return config, GenerationConfig.from_pretrained(base.source, revision=base.revision, **read)


def _refuse_other(path: Path, config: Any) -> None:
    """Raise Misfit for a configuration that is another model's than `config`."""
    try:
        found = json.loads(path.read_bytes())  # in any encoding that it was validated in
    except (OSError, ValueError, RecursionError) as error:
        raise Misfit(f"{path.name} cannot be read.") from error
    if not isinstance(found, dict):
        raise Misfit(f"{path.name} is no JSON object.")
    if others := whole_weights.differences(found, config.to_dict()):
        raise Misfit(f"{path.name} is not the base model's: {'; '.join(others)}.")


def load(base: Base, settings: Hyperparameters, *, environment: dict[str, Any], weights: Path | None) -> Any:
    """The model ready to train, in training mode; `weights` is a directory of weights to go on from.

    Trainable weights are float32; a frozen base is kept in the run's dtype. Raises Failure `model_load_failed` and
    `lora_targets_unknown`, and Misfit when the weights are not of this model.
    """
    device, is_whole = environment["device"], settings.training_type == "full"
    if is_whole and weights is not None:
        model = load_whole(base, weights, dtype=torch.float32, device=device)
    else:
        dtype = torch.float32 if is_whole else getattr(torch, environment["dtype"])
        model = load_base(base, dtype=dtype, device=device)
    if not is_whole:
        model = _with_adapter(model, base, settings, weights)
    if weights is not None:
        _refuse_not_finite(model)
    return model.train()


def _refuse_not_finite(model: Any) -> None:
    """Raise Misfit for trainable weights of which one is no number: the loss would blame the rows."""
    for name, weight in trainable(model).items():
        if not torch.isfinite(weight).all():
            raise Misfit(f"{name[:200]} has values that are no finite numbers.")


def _with_adapter(model: Any, base: Base, settings: Hyperparameters, weights: Path | None) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    targets = list(settings.lora_targets)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        message = f"LoRA cannot be put on these modules of {base.name}: {error}"
        raise Failure("lora_targets_unknown", message, param="lora_targets") from error
    if weights is not None:
        _fill(adapted, weights / ADAPTER_FILE)
    return adapted


def _fill(adapted: Any, path: Path) -> None:
    """Put an adapter's weights in their places, every one of them."""
    from peft import set_peft_model_state_dict

    try:
        done = set_peft_model_state_dict(adapted, load_file(path))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise Misfit(f"they are no adapter of this shape: {str(error)[:300]}.") from error
    if done.unexpected_keys or trainable(adapted).keys() & set(done.missing_keys):
        raise Misfit("they are an adapter of other modules.")


def trainable(model: Any) -> dict[str, Tensor]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def precision(environment: dict[str, Any]) -> AbstractContextManager:
    """The context a forward pass runs in: autocast over float32 weights, or nothing."""
    if environment["dtype"] == "float32":
        return nullcontext()
    return torch.autocast(environment["device"], dtype=getattr(torch, environment["dtype"]))


def keeps_logits(model: Any) -> bool:
    """Whether the model can be asked for logits at chosen places only."""
    return "logits_to_keep" in inspect.signature(type(inner(model)).forward).parameters


def use_attention(model: Any, kind: str) -> None:
    inner(model).set_attn_implementation(kind)


def inner(model: Any) -> Any:
    """The model itself, without the adapter around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def plain_attention(model: Any) -> Iterator[None]:
    """The model with attention as transformers brings it, for saving and for generating."""
    documents = model.config._attn_implementation == attention.NAME
    if documents:
        use_attention(model, "sdpa")
    try:
        yield
    finally:
        if documents:
            use_attention(model, attention.NAME)


def supports_documents(model: Any) -> bool:
    """True when the model takes our attention; whether packing is then exact is measured, not assumed."""
    attention.register()
    try:
        use_attention(model, attention.NAME)
    except (ValueError, NotImplementedError):
        return False
    return True


def save(model: Any, tokenizer: Any, directory: Path, *, base_name: str) -> None:
    """A model directory that from_pretrained and vLLM read: the same bytes for the same weights, no machine's paths."""
    with plain_attention(model):
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    for path in sorted(directory.glob("*.json")):
        _settle(path, base_name)
    for path in directory.rglob("*"):
        if path.is_file():
            os.chmod(path, MODE)


def store_as_base(directory: Path, base: Base) -> None:
    """Store an exported full model, trained in float32, in its base's own precision; an adapter stays as it is."""
    if not (directory / "config.json").exists():
        return
    wanted = AutoConfig.from_pretrained(base.source, revision=base.revision, trust_remote_code=False).dtype
    if wanted not in (torch.bfloat16, torch.float16):
        return
    for path in sorted(directory.glob("*.safetensors")):
        save_file(
            {name: tensor.to(wanted) for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"}
        )
        os.chmod(path, MODE)
    config = json.loads((directory / "config.json").read_text("utf-8"))
    config["dtype"] = str(wanted).removeprefix("torch.")
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _settle(path: Path, base_name: str) -> None:
    """Rewrite a configuration so that neither set order nor a directory of this machine is in it."""
    if path.name not in ("adapter_config.json", "config.json", "tokenizer_config.json", "generation_config.json"):
        return
    content = json.loads(path.read_text("utf-8"))
    for name in ("_name_or_path", "name_or_path", "local_files_only", "is_local"):
        content.pop(name, None)
    if path.name == "adapter_config.json":
        content["base_model_name_or_path"] = base_name
        content["revision"] = None
        content = {name: sorted(value) if _unordered(name, value) else value for name, value in content.items()}
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def _unordered(name: str, value: Any) -> bool:
    return name in ("target_modules", "exclude_modules", "modules_to_save") and isinstance(value, list)
