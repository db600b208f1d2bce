"""What a row may say about tools."""

import io
import json
from typing import Any

import pytest

from app.core import dataset
from app.core.dataset.tools import MAX_TOOLS

LOOK: dict[str, Any] = {"name": "look", "description": "Look it up.", "parameters": {"type": "object"}}
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def check(row: object) -> dataset.Report:
    return dataset.check(io.BytesIO(json.dumps(row).encode()))


def found(**extra: object) -> list[tuple[str, str]]:
    """Path and code of each finding on a good chat with more keys."""
    return [(finding.path, finding.code) for finding in check({"messages": CHAT, **extra}).findings]


def found_in_calls(calls: object) -> list[str]:
    report = check({"messages": [CHAT[0], {"role": "assistant", "content": None, "tool_calls": calls}]})
    return [finding.path.removeprefix("$.messages[1].tool_calls") for finding in report.findings]


@pytest.mark.parametrize(
    "function", [LOOK, {"name": "a"}, {"name": "x" * 64, "strict": True}, {"name": "a", "description": None}]
)
def test_a_tool_is_accepted(function):
    assert found(tools=[{"type": "function", "function": function}]) == []


@pytest.mark.parametrize("count", [1, MAX_TOOLS])
def test_functions_are_accepted(count):
    assert found(functions=[LOOK] * count) == []


@pytest.mark.parametrize("functions", [[], [LOOK] * (MAX_TOOLS + 1), {}, "look"])
def test_functions_that_are_not_1_to_128_are_a_finding(functions):
    assert found(functions=functions) == [("$.functions", "data_type")]


@pytest.mark.parametrize("tools", [{}, "look", 1, [{"type": "function", "function": LOOK}] * (MAX_TOOLS + 1)])
def test_tools_that_are_no_list_or_too_many_are_a_finding(tools):
    assert found(tools=tools) == [("$.tools", "data_type")]


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ("look", "$.tools[0]"),
        ({"function": LOOK}, "$.tools[0].type"),
        ({"type": "web_search", "function": LOOK}, "$.tools[0].type"),
        ({"type": "function"}, "$.tools[0].function"),
        ({"type": "function", "function": "look"}, "$.tools[0].function"),
        ({"type": "function", "function": {}}, "$.tools[0].function.name"),
        ({"type": "function", "function": {**LOOK, "name": "look it up"}}, "$.tools[0].function.name"),
        ({"type": "function", "function": {**LOOK, "name": "x" * 65}}, "$.tools[0].function.name"),
        ({"type": "function", "function": {**LOOK, "description": 1}}, "$.tools[0].function.description"),
        ({"type": "function", "function": {**LOOK, "parameters": "{}"}}, "$.tools[0].function.parameters"),
        ({"type": "function", "function": {**LOOK, "strict": "yes"}}, "$.tools[0].function.strict"),
    ],
)
def test_a_tool_of_another_shape_is_a_finding(tool, path):
    assert found(tools=[tool]) == [(path, "data_type")]


def test_a_function_that_is_no_object_is_a_finding():
    assert found(functions=[LOOK, "look"]) == [("$.functions[1]", "data_type")]


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (None, "[0]"),
        ({**CALL, "id": None}, "[0].id"),
        ({**CALL, "id": ""}, "[0].id"),
        ({**CALL, "type": "custom"}, "[0].type"),
        ({**CALL, "function": None}, "[0].function"),
        ({**CALL, "function": {"arguments": "{}"}}, "[0].function.name"),
        ({**CALL, "function": {"name": "look"}}, "[0].function.arguments"),
        ({**CALL, "function": {"name": "look", "arguments": {}}}, "[0].function.arguments"),
    ],
)
def test_a_call_of_another_shape_is_a_finding(call, path):
    assert found_in_calls([call]) == [path]


@pytest.mark.parametrize("calls", [{"id": "call_1"}, "look", 1, [CALL] * (MAX_TOOLS + 1)])
def test_calls_that_are_no_list_or_too_many_are_a_finding(calls):
    assert found_in_calls(calls) == [""]


def test_an_empty_list_of_calls_does_not_stand_in_for_content():
    assert set(found_in_calls([])) == {"", "$.messages[1].content"}


def test_a_function_call_of_another_shape_is_a_finding():
    report = check({"messages": [CHAT[0], {"role": "assistant", "content": None, "function_call": "look"}]})
    assert [finding.path for finding in report.findings] == ["$.messages[1].function_call"]


@pytest.mark.parametrize("arguments", ["", "city=Oslo", "[1]", "[" * 100_000])
def test_arguments_that_hold_no_json_object_are_a_warning(arguments):
    call = {**CALL, "function": {"name": "look", "arguments": arguments}}
    report = check({"messages": [CHAT[0], {"role": "assistant", "content": None, "tool_calls": [call]}]})
    assert ([warning.code for warning in report.warnings], report.findings) == (["arguments_not_json"], ())
