"""What a row may say about tools: the ones it declares, and the calls its assistant makes."""

import json
import re
from collections.abc import Callable
from typing import Any

from app.core.dataset.findings import ABSENT
from app.core.dataset.notes import Notes

MAX_TOOLS = 128

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_declared(row: dict[str, Any], path: str, notes: Notes) -> None:
    """Check the tools that stand beside messages, and whether they may be called in parallel.

    `tools` are at most MAX_TOOLS objects {"type": "function", "function": {…}}; `functions`, the older spelling, 1 to
    MAX_TOOLS objects {"name": …, "parameters": {…}}.
    """
    if row.get("tools") is not None:
        _check_each(row["tools"], f"{path}.tools", notes, _check_tool, at_least=0)
    if row.get("functions") is not None:
        _check_each(row["functions"], f"{path}.functions", notes, _check_function, at_least=1)
    parallel = row.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        fix = "Write true or false without quotes."
        notes.wrong(f"{path}.parallel_tool_calls", "data_type", parallel, expected="true or false", fix=fix)


def check_tool_calls(calls: object, path: str, notes: Notes) -> None:
    """Check an assistant message's `tool_calls`: 1 to MAX_TOOLS objects with id, type and function."""
    _check_each(calls, path, notes, _check_tool_call, at_least=1)


def check_call(call: object, path: str, notes: Notes) -> None:
    """Check {"name": …, "arguments": "…"}: a `function_call`, or the function of a tool call."""
    if not isinstance(call, dict):
        notes.wrong(path, "data_type", call, expected="an object with name and arguments", fix="Write such an object.")
        return
    _check_name(call, path, notes)
    arguments = call.get("arguments", ABSENT)
    if not isinstance(arguments, str):
        notes.wrong(
            f"{path}.arguments",
            "data_type",
            arguments,
            expected="a string that holds a JSON object",
            fix='Write the arguments as text: "{\\"city\\": \\"Oslo\\"}", not {"city": "Oslo"}.',
        )
    elif not _holds_json_object(arguments):
        notes.warn("arguments_not_json")


def _check_each(
    items: object, path: str, notes: Notes, check: Callable[[object, str, Notes], None], *, at_least: int
) -> None:
    if not isinstance(items, list) or not at_least <= len(items) <= MAX_TOOLS:
        expected = f"a list of {at_least} to {MAX_TOOLS} objects"
        notes.wrong(path, "data_type", items, expected=expected, fix="Correct the list, or leave the key out.")
        return
    for index, item in enumerate(items):
        check(item, f"{path}[{index}]", notes)


def _check_tool(tool: object, path: str, notes: Notes) -> None:
    if not isinstance(tool, dict):
        notes.wrong(path, "data_type", tool, expected="an object with type and function", fix="Write such an object.")
        return
    _check_type(tool, path, notes)
    _check_function(tool.get("function", ABSENT), f"{path}.function", notes)


def _check_tool_call(call: object, path: str, notes: Notes) -> None:
    if not isinstance(call, dict):
        expected = "an object with id, type and function"
        notes.wrong(path, "data_type", call, expected=expected, fix="Write such an object.")
        return
    _check_type(call, path, notes)
    if not isinstance(call.get("id"), str) or not call["id"]:
        notes.wrong(
            f"{path}.id",
            "data_type",
            call.get("id", ABSENT),
            expected="a string that the answering tool message repeats as tool_call_id",
            fix="Give each call an id, such as call_1.",
        )
    check_call(call.get("function", ABSENT), f"{path}.function", notes)


def _check_type(item: dict[str, Any], path: str, notes: Notes) -> None:
    if item.get("type") != "function":
        fix = 'Set "type": "function"; other kinds of tools cannot be trained.'
        notes.wrong(f"{path}.type", "data_type", item.get("type", ABSENT), expected='"function"', fix=fix)


def _check_function(function: object, path: str, notes: Notes) -> None:
    if not isinstance(function, dict):
        expected = "an object with name, and perhaps description and parameters"
        notes.wrong(path, "data_type", function, expected=expected, fix="Write such an object.")
        return
    _check_name(function, path, notes)
    for key, kind, expected in _FUNCTION_MEMBERS:
        if function.get(key) is not None and not isinstance(function[key], kind):
            notes.wrong(
                f"{path}.{key}", "data_type", function[key], expected=expected, fix="Correct it, or leave it out."
            )


_FUNCTION_MEMBERS: tuple[tuple[str, type, str], ...] = (
    ("description", str, "a string"),
    ("parameters", dict, "a JSON Schema object"),
    ("strict", bool, "true or false"),
)


def _check_name(function: dict[str, Any], path: str, notes: Notes) -> None:
    name = function.get("name", ABSENT)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        notes.wrong(
            f"{path}.name",
            "data_type",
            name,
            expected="a name of 1 to 64 letters, digits, _ and -",
            fix="Name the function as the calling program does.",
        )


def _holds_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
