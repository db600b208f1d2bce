"""The messages of a row: who speaks, what is said, and what only some roles may carry.

A known key whose value is null counts as absent, as exports of tables write it; an assistant's weight is the exception.
"""

from typing import Any

from app.core.dataset.contents import check_content
from app.core.dataset.findings import ABSENT, FOUND_CHARACTERS, cut, member, quoted
from app.core.dataset.notes import Notes
from app.core.dataset.tools import check_call, check_tool_calls

_EVERY = frozenset({"role", "content", "name"})
_ASSISTANT = frozenset({"weight", "tool_calls", "function_call", "refusal", "audio"})
_TOOL = frozenset({"tool_call_id"})
_KEYS = {
    "system": _EVERY,
    "developer": _EVERY,
    "user": _EVERY,
    "assistant": _EVERY | _ASSISTANT,
    "tool": _EVERY | _TOOL,
    "function": _EVERY,
}
_SPEAKERS = frozenset({"system", "developer", "user", "assistant"})
_ALL_KEYS = _EVERY | _ASSISTANT | _TOOL


def check_messages(messages: object, notes: Notes) -> None:
    """Check the row's `messages`, and that the assistant says something that is trained on."""
    fix = 'Write "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].'
    found = check_some(messages, "$.messages", "missing_messages_list", fix, notes)
    if not found:
        return
    for index, message in enumerate(found):
        check_message(message, f"$.messages[{index}]", notes)
    last = found[-1]
    if not any(_is_trained(message) for message in found):
        notes.add(
            "$.messages",
            "example_missing_assistant_message",
            found="no assistant message that is trained on",
            expected="at least one assistant message whose weight is not 0",
            fix="Add the answer that the model should learn, or remove the row.",
        )
    elif isinstance(last, dict) and last.get("role") != "assistant":
        notes.warn("last_message_not_assistant")


def check_some(messages: object, path: str, code: str, fix: str, notes: Notes) -> list[Any]:
    """The messages of a list at the path; none, and a finding, where it is no list of at least one."""
    if isinstance(messages, list) and messages:
        return messages
    notes.wrong(path, code, messages, expected="a list of at least one message", fix=fix)
    return []


def _is_trained(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant" and message.get("weight", 1) != 0


def check_message(message: object, path: str, notes: Notes) -> None:
    """Check one message, whatever its role."""
    if not isinstance(message, dict):
        notes.wrong(path, "data_type", message, expected="an object with role and content", fix="Write such an object.")
        return
    if _is_plain(message):
        return
    role = message.get("role")
    if not isinstance(role, str) or role not in _KEYS:
        _note_role(message, path, notes)
        role = "unknown"
    if not message.keys() <= _KEYS.get(role, _ALL_KEYS):
        _note_keys(message, role, path, notes)
    check_content(message, role, path, notes)
    _check_string(message, "name", path, notes)
    if role == "assistant" and len(message) > 2:
        _check_assistant(message, path, notes)
    elif role == "tool":
        _check_present(message, "tool_call_id", "the id of the call that this message answers", path, notes)
        _check_string(message, "tool_call_id", path, notes)
    elif role == "function":
        _check_present(message, "name", "the name of the function that this message answers for", path, notes)


def _is_plain(message: dict[str, Any]) -> bool:
    """Whether it is a role that says a text and nothing else, as most messages are: there is nothing to find in it."""
    role, content = message.get("role"), message.get("content")
    if len(message) != 2 or not isinstance(role, str) or not isinstance(content, str):
        return False
    return role in _SPEAKERS and bool(content) and not content.isspace()


def _note_role(message: dict[str, Any], path: str, notes: Notes) -> None:
    code = "unrecognized_role" if "role" in message else "message_missing_key"
    expected = f"one of {', '.join(_KEYS)}"
    notes.wrong(
        f"{path}.role", code, message.get("role", ABSENT), expected=expected, fix="Set the role to who is speaking."
    )


def _note_keys(message: dict[str, Any], role: str, path: str, notes: Notes) -> None:
    keys = _KEYS.get(role, _ALL_KEYS)
    for key, value in message.items():
        if key in keys or (value is None and key in _ALL_KEYS):
            continue
        expected = f"only the keys {', '.join(sorted(keys))} on this message"
        if key in _ALL_KEYS:
            expected = f"{key} on {'tool' if key in _TOOL else 'assistant'} messages only"
        notes.add(
            member(path, key),
            "message_unrecognized_key",
            found=cut(f"the key {quoted(key)}", FOUND_CHARACTERS),
            expected=expected,
            fix="Remove the key, or correct its spelling.",
        )


def _check_assistant(message: dict[str, Any], path: str, notes: Notes) -> None:
    weight = message.get("weight", 1)
    if type(weight) is not int or weight not in (0, 1):
        fix = "Use 1 to train on this answer, 0 to show it only, or leave the weight out."
        notes.wrong(f"{path}.weight", "invalid_weight", weight, expected="the integer 0 or 1", fix=fix)
    _check_string(message, "refusal", path, notes)
    if message.get("audio") is not None:
        fix = "Write what is said as text."
        notes.wrong(f"{path}.audio", "audio_not_supported", message["audio"], expected="text only", fix=fix)
    if message.get("tool_calls") is not None:
        check_tool_calls(message["tool_calls"], f"{path}.tool_calls", notes)
    if message.get("function_call") is not None:
        check_call(message["function_call"], f"{path}.function_call", notes)


def _check_string(message: dict[str, Any], key: str, path: str, notes: Notes) -> None:
    value = message.get(key)
    if value is not None and not isinstance(value, str):
        fix = "Write a string, or leave the key out."
        notes.wrong(f"{path}.{key}", "data_type", value, expected="a string", fix=fix)


def _check_present(message: dict[str, Any], key: str, expected: str, path: str, notes: Notes) -> None:
    if message.get(key) in (None, ""):
        value = message.get(key, ABSENT)
        notes.wrong(f"{path}.{key}", "message_missing_key", value, expected=expected, fix=f"Add {key}.")
