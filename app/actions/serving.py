"""How a model would be served: Tuneyard trains, vLLM answers."""

import shlex

from app import blobs
from app.actions import models
from app.core.caller import Caller
from app.core.errors import Unknown

VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def refuse(caller: Caller, name: str) -> Unknown:
    """The error that answers a wish to chat with a model: the command that would serve it.

    Raises Unknown when there is no such model.
    """
    command = _command(models.retrieve(caller, name))
    return Unknown(
        f"The model '{name}' exists, but this server trains models and does not serve them. To serve it: {command}",
        param="model",
        code="model_not_served",
    )


def _command(model: models.Base | models.Tuned) -> str:
    if isinstance(model, models.Base):
        return shlex.join(["vllm", "serve", model.model.source, "--served-model-name", model.name])
    weights = blobs.storage().location(model.weights)
    if weights.startswith("s3://"):
        return f"{shlex.join(['aws', 's3', 'sync', weights, model.weights])} && {_tuned(model, model.weights)}"
    return _tuned(model, weights)


def _tuned(model: models.Tuned, weights: str) -> str:
    """The command for weights in a directory: vLLM reads no adapter from anywhere else."""
    chosen = model.hyperparameters
    if chosen.get("training_type") == "full":
        return shlex.join(["vllm", "serve", weights, "--served-model-name", model.name])
    rank = next((rank for rank in VLLM_RANKS if rank >= chosen.get("lora_rank", 16)), VLLM_RANKS[-1])
    source = model.base.source if model.base else model.base_name
    base = ["vllm", "serve", source, "--served-model-name", model.base_name]
    lora = ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"{model.name}={weights}"]
    return shlex.join([*base, *lora])
