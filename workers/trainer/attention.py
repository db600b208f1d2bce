"""Causal attention per document of a pack, without a mask tensor; registered with transformers as one more kind.

An all-ones mask would let one document of a pack read another without any error.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "documents"


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    document_lengths: tuple[int, ...] | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attention output [1, time, heads, head size].

    query, key, value: [1, heads, time, head size]; document_lengths sums to time. Raises ValueError for variants of
    attention that it cannot compute (soft caps, sinks), so that such a model is trained document by document.
    """
    if document_lengths is None or unused.get("softcap") is not None or unused.get("s_aux") is not None:
        raise ValueError("this model's attention cannot be computed per document")
    kept = value.dtype
    with torch.autocast(query.device.type, enabled=False):
        if query.device.type == "cpu":  # measured: attention in bfloat16 is slower there than in float32, both ways
            query, key, value = query.float(), key.float(), value.float()
        parts = (tensor.to(value.dtype).split(document_lengths, dim=2) for tensor in (query, key, value))
        outputs = [_attend_one(q, k, v, dropout, scaling, sliding_window) for q, k, v in zip(*parts, strict=True)]
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return joined.transpose(1, 2).contiguous().to(kept), None


def _attend_one(
    q: Tensor, k: Tensor, v: Tensor, dropout: float, scaling: float | None, sliding_window: int | None
) -> Tensor:
    """One document's attention; q, k, v: [1, heads, length, head size], k and v perhaps with fewer heads."""
    length = q.shape[2]
    banded = sliding_window is not None and length > sliding_window
    return scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=_band(length, int(sliding_window or 0), q.device) if banded else None,
        dropout_p=dropout,
        is_causal=not banded,
        scale=scaling,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _band(length: int, window: int, device: torch.device) -> Tensor:
    """bool [length, length]: position i sees the last `window` positions, itself included."""
    ones = torch.ones(length, length, dtype=torch.bool, device=device)
    return ones.tril().triu(1 - window)


def register() -> None:
    AttentionInterface.register(NAME, attend)
