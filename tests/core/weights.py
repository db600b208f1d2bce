"""Files of weights, made by hand: a header and zeros."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from app.core.safetensors import BYTES

CONFIG = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
    "task_type": "CAUSAL_LM",
}
ADAPTER = {
    f"base_model.model.model.layers.{layer}.self_attn.{target}.lora_{half}.weight": shape
    for layer in (0, 1)
    for target, width in (("q_proj", 32), ("v_proj", 16))
    for half, shape in (("A", (4, 32)), ("B", (width, 4)))
}
"""The shapes of an adapter on a base that is 32 wide, of two layers."""


def file(shapes: Mapping[str, Sequence[int]], *, dtype: str = "F32", **changes: Any) -> bytes:
    """A safetensors file; `changes` are members of its header."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({**header, **changes}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)
