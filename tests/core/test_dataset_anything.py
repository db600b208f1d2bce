"""Whatever the bytes are, they end in a report that can be stored and sent."""

import copy
import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core import dataset

CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
FULL_ROW = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}], "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "weight": 0},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
        {"role": "assistant", "function_call": CALL["function"], "audio": None},
        {"role": "function", "name": "look", "content": "4"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "weight": 1},
    ],
    "tools": [{"type": "function", "function": {"name": "look", "description": "", "parameters": {}}}],
    "functions": [{"name": "look"}],
    "parallel_tool_calls": True,
}
FULL_PAIR = {
    "input": {name: FULL_ROW[name] for name in ("messages", "tools", "parallel_tool_calls")},
    "preferred_output": [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
        {"role": "assistant", "content": [{"type": "text", "text": "Four."}], "name": "bot"},
    ],
    "non_preferred_output": [{"role": "assistant", "refusal": "No."}],
}
KEYS = st.sampled_from(
    ["messages", "role", "content", "weight", "type", "text", "prompt", "completion", "\0", "\ud800"]
)
WORDS = st.sampled_from(["user", "assistant", "tool", "function", "text", "image_url", "refusal", "{}", "", " ", "\0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) inside a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def spoiled(good: dict[str, Any], number: int, value: object) -> Any:
    """The row with another value in one of its places."""
    row = copy.deepcopy(good)
    inside = places(row)
    container, key = inside[number % len(inside)]
    container[key] = value
    return row


def assert_report_can_be_stored(content: bytes, method: str = "supervised") -> None:
    report = dataset.check(io.BytesIO(content), method=method)
    text = json.dumps(report.as_dict(), ensure_ascii=False, allow_nan=False)
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")
    assert report.size_bytes == len(content)
    assert len(report.findings) == min(report.finding_count, dataset.LISTED)


@pytest.mark.parametrize(("row", "method"), [(FULL_ROW, "supervised"), (FULL_PAIR, "dpo")])
def test_the_row_that_is_spoiled_below_is_good(row, method):
    assert dataset.check(io.BytesIO(json.dumps(row).encode()), method=method).findings == ()


@unhurried
@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise(content):
    assert_report_can_be_stored(content)


@unhurried
@given(st.lists(st.sampled_from([*b'{}[]":,\\1\n\xe9\0', *[b"u0000", b"ud800", b"NaN", b'"a":1', b"1e999"]])))
def test_no_scraps_of_json_raise(scraps):
    assert_report_can_be_stored(b"".join(bytes([scrap]) if isinstance(scrap, int) else scrap for scrap in scraps))


@unhurried
@given(st.lists(VALUES, max_size=4))
def test_no_json_values_raise(rows):
    assert_report_can_be_stored("\n".join(json.dumps(row) for row in rows).encode())


@unhurried
@given(st.integers(min_value=0), VALUES)
def test_no_value_in_any_place_of_a_row_raises(number, value):
    assert_report_can_be_stored(json.dumps(spoiled(FULL_ROW, number, value)).encode())


@unhurried
@given(st.integers(min_value=0), VALUES)
def test_no_value_in_any_place_of_a_pair_raises(number, value):
    assert_report_can_be_stored(json.dumps(spoiled(FULL_PAIR, number, value)).encode(), "dpo")


@unhurried
@given(st.lists(VALUES, max_size=4))
def test_a_file_is_its_own_repetition(rows):
    content = "\n".join(json.dumps(row) for row in rows).encode()
    training = dataset.check(io.BytesIO(content))
    again = dataset.check(io.BytesIO(content), dataset.VALIDATION, training=training)
    assert again.digests == training.digests
    assert bool(training.digests) == any(warning.code == "row_in_training_file" for warning in again.warnings)
