"""Whether a model may be packed: known families are, any other only if documents in one pass read as they do alone."""

from itertools import islice
from typing import Any

import numpy as np
import torch

from workers.trainer import attention
from workers.trainer import model as models
from workers.trainer.batches import Pack, Rows, packs
from workers.trainer.engine import forward

KNOWN_FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "smollm3"})  # each has a test
_ATTENTION_LAYERS = {"full_attention", "sliding_attention"}
_PROBE_DOCUMENTS = 3
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25}  # largest difference of a logit


@torch.no_grad()
def decide(model: Any, rows: Rows, environment: dict[str, Any]) -> bool:
    """The frozen answer where there is one, else a trial on the shortest documents; sets the model's attention."""
    plain = model.config._attn_implementation
    if environment["packing"] is False or _remembers(model) or not models.supports_documents(model):
        return False
    if environment["packing"] or model.config.model_type in KNOWN_FAMILIES:
        return True
    alike = _reads_alike(model, rows, environment, plain)
    models.use_attention(model, attention.NAME if alike else plain)
    return alike


def _remembers(model: Any) -> bool:
    """Whether some layer carries a state from token to token, which would run on into the next document."""
    layers = set(getattr(model.config, "layer_types", None) or ())
    return bool(getattr(models.inner(model), "_is_stateful", False)) or not layers <= _ATTENTION_LAYERS


def _reads_alike(model: Any, rows: Rows, environment: dict[str, Any], plain: str) -> bool:
    starts = rows.row_starts
    shortest = np.argsort(starts[1:] - starts[:-1], kind="stable")
    usable = (row for row in shortest if rows.trained[starts[row] : starts[row + 1]].any())
    trial = next(packs(rows, list(islice(usable, _PROBE_DOCUMENTS)), budget=1 << 30), None)
    if trial is None:
        return True
    model.eval()
    try:
        together = _logits(model, trial, {**environment, "packing": True}, attention.NAME)
        alone = _logits(model, trial, {**environment, "packing": False}, plain)
    except (ValueError, TypeError):
        return False
    finally:
        model.train()
    return bool((together - alone).abs().max() <= _TOLERANCE[environment["dtype"]])


def _logits(model: Any, trial: Pack, environment: dict[str, Any], kind: str) -> torch.Tensor:
    models.use_attention(model, kind)
    return forward(model, trial, environment).float()
