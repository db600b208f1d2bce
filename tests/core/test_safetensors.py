"""Headers of safetensors files: read as the format's own library writes them, and doubted where they cannot be true."""

import io

import pytest

from app.core.safetensors import MOST_HEADER_BYTES, Malformed, Tensor, tensors
from tests.core.weights import file

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def read(content: bytes) -> dict[str, Tensor]:
    return tensors(io.BytesIO(content), len(content))


def test_a_header_tells_type_and_shape_of_each_tensor():
    content = file({"a": (2, 3), "b": ()}, dtype="BF16", __metadata__={"format": "pt"})
    assert read(content) == {"a": Tensor("BF16", (2, 3)), "b": Tensor("BF16", ())}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no safetensors file"),
        (b"{" * 100, "no safetensors file"),
        ((MOST_HEADER_BYTES + 1).to_bytes(8, "little") + bytes(MOST_HEADER_BYTES + 1), "may have one of"),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, "no JSON"),
        ((2).to_bytes(8, "little") + b"[]", "no JSON object"),
        (file({"a": (2,)}, __metadata__=["pt"]), "no object of texts"),
        (file({"a": (2,)}, __metadata__={"step": 1}), "no object of texts"),
        (file({"a": (2,)})[:-1], "7 bytes of tensors"),
        (file({"a": (2,)}) + b"x", "9 bytes of tensors"),
        (file({"a": (2,)}, b=ONE), "overlap"),
        (file({"a": (2,)}, a={**ONE, "data_offsets": [1, 9]}), "overlap"),
        (file({"a": (2,)}, a={**ONE, "shape": [3]}), "another number of bytes"),
        (file({"a": (2,)}, a={**ONE, "shape": [-1, -2]}), "another number of bytes"),
        (file({"a": (2,)}, a={**ONE, "shape": [True, 2]}), "another number of bytes"),
        (file({"a": (2,)}, a={**ONE, "shape": [1] * 100_000}), "another number of bytes"),
        (file({"a": (2,)}, a={**ONE, "dtype": "STRING"}), "nothing that can be read"),
        (file({"a": (2,)}, a={**ONE, "data_offsets": [0]}), "nothing that can be read"),
        (file({"a": (2,)}, a=None), "nothing that can be read"),
    ],
)
def test_a_file_that_is_cut_off_or_contradicts_itself_is_malformed(content, words):
    with pytest.raises(Malformed, match=words):
        read(content)
