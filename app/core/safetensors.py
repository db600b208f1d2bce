"""Headers of safetensors files: which tensors a file holds, told without reading a weight."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of a value, by the name of its type."""
LENGTH_BYTES = 8
MOST_HEADER_BYTES = 4 << 20
MOST_DIMENSIONS, MOST_VALUES = 8, 2**48


class Malformed(ValueError):
    """A file is no safetensors file, or is cut off; the message says why, to follow its name."""


@dataclass(frozen=True)
class Tensor:
    """What a header says of a tensor; `dtype` as the format writes it: F32, F16, BF16, …"""

    dtype: str
    shape: tuple[int, ...]


def tensors(opened: IO[bytes], size: int) -> dict[str, Tensor]:
    """The tensors by name of a file of `size` bytes, which its offsets must fit and fill. Raises Malformed."""
    length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
    if not 2 <= length <= size - LENGTH_BYTES:
        raise Malformed("is no safetensors file, or is cut off")
    if length > MOST_HEADER_BYTES:
        raise Malformed(f"has a header of {length} bytes, and may have one of {MOST_HEADER_BYTES}")
    try:
        header = json.loads(opened.read(length))
    except (ValueError, RecursionError) as error:
        raise Malformed("has a header that is no JSON") from error
    if not isinstance(header, dict):
        raise Malformed("has a header that is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Malformed("has a __metadata__ that is no object of texts")
    spans, found = [], {}
    for name, entry in header.items():
        found[name], span = _read(name, entry)
        spans.append(span)
    _must_fill(spans, size - LENGTH_BYTES - length)
    return found


def _read(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    """A tensor, and where it begins and ends behind the header."""
    try:
        tensor = Tensor(entry["dtype"], tuple(entry["shape"]))
        begin, end = entry["data_offsets"]
        is_sound = all(type(number) is int and 0 <= number < MOST_VALUES for number in (*tensor.shape, begin, end))
        width = BYTES[tensor.dtype]
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"says of '{name[:64]}' nothing that can be read") from error
    if not is_sound or len(tensor.shape) > MOST_DIMENSIONS or end - begin != width * math.prod(tensor.shape):
        raise Malformed(f"has another number of bytes for '{name[:64]}' than its type and shape say")
    return tensor, (begin, end)


def _must_fill(spans: Iterable[tuple[int, int]], size: int) -> None:
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise Malformed("has tensors that overlap, or bytes that belong to none")
        at = end
    if at != size:
        raise Malformed(f"has {size} bytes of tensors, and its header tells of {at}")
