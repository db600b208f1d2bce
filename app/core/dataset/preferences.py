"""The rows of method dpo: a conversation, the answer to it that is preferred, and one that is not."""

from typing import Any

from app.core.dataset.findings import ABSENT, FOUND_CHARACTERS, cut, quoted
from app.core.dataset.messages import check_message, check_some
from app.core.dataset.notes import Notes
from app.core.dataset.tools import check_declared

_SPELLINGS = {
    "preferred_output": "preferred_completion",
    "non_preferred_output": "non_preferred_completion",
}  # the older one on the right
_ROW_KEYS = frozenset({"input", *_SPELLINGS, *_SPELLINGS.values()})
_INPUT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_ANSWERERS = ("assistant", "tool")
_SAYING = ("role", "content", "refusal", "tool_calls", "function_call")


def check_row(row: object, notes: Notes) -> str | None:
    """Note all that is wrong with one row, and return "preference", or None where it is nothing like one."""
    if not isinstance(row, dict) or _ROW_KEYS.isdisjoint(row):
        expected = "an object with input, preferred_output and non_preferred_output"
        fix = 'Write such objects, or ask for the method "supervised", which takes rows of "messages".'
        notes.wrong("$", "missing_key" if isinstance(row, dict) else "data_type", row, expected=expected, fix=fix)
        return None
    notes.warn_of_keys(row, _ROW_KEYS)
    _check_input(row.get("input", ABSENT), notes)
    keys = [_key(row, new, old, notes) for new, old in _SPELLINGS.items()]
    for key in keys:
        _check_answer(row.get(key, ABSENT), f"$.{key}", notes)
    preferred, other = (_said(row.get(key)) for key in keys)
    if preferred and preferred == other:
        notes.add(
            f"$.{keys[1]}",
            "equal_outputs",
            found=f"the same answer as in {keys[0]}",
            expected="an answer that differs from the preferred one",
            fix="Write the answer that is not wanted, or remove the row.",
        )
    return "preference"


def _check_input(asked: object, notes: Notes) -> None:
    if not isinstance(asked, dict):
        fix = 'Write "input": {"messages": [{"role": "user", "content": "…"}]}.'
        code = "missing_key" if asked is ABSENT else "data_type"
        notes.wrong("$.input", code, asked, expected="an object with messages", fix=fix)
        return
    notes.warn_of_keys(asked, _INPUT_KEYS)
    fix = 'Write "messages": [{"role": "user", "content": "…"}], all that comes before the answers.'
    messages = check_some(asked.get("messages", ABSENT), "$.input.messages", "missing_messages_list", fix, notes)
    for index, message in enumerate(messages):
        check_message(message, f"$.input.messages[{index}]", notes)
        _warn_of_weight(message, notes)
    check_declared(asked, "$.input", notes)


def _key(row: dict[str, Any], new: str, old: str, notes: Notes) -> str:
    """The spelling that the row uses; using both is a finding."""
    if new in row and old in row:
        fix = f"Keep {new}."
        notes.wrong(f"$.{old}", "duplicate_key", row[old], expected=f"either {new} or {old}", fix=fix)
    return old if old in row and new not in row else new


def _check_answer(answer: object, path: str, notes: Notes) -> None:
    fix = f'Write "{path[2:]}": [{{"role": "assistant", "content": "…"}}].'
    messages = check_some(answer, path, "missing_key" if answer is ABSENT else "data_type", fix, notes)
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(role, str) and role not in _ANSWERERS:
            notes.wrong(
                f"{path}[{index}].role",
                "unrecognized_role",
                role,
                expected="assistant, or tool for what its calls gave back",
                fix="Move what comes before the answer to input.messages.",
            )
            continue
        check_message(message, f"{path}[{index}]", notes)
        _warn_of_weight(message, notes)
    if messages and isinstance(messages[-1], dict) and messages[-1].get("role") == "tool":
        notes.add(
            f"{path}[{len(messages) - 1}].role",
            "last_message_not_assistant",
            found=cut(quoted("tool"), FOUND_CHARACTERS),
            expected="an assistant's message at the end: it is what the two answers are compared by",
            fix="Add the assistant's answer, or remove the row.",
        )


def _warn_of_weight(message: object, notes: Notes) -> None:
    """Only the last turn of each answer is trained on, whatever weights say."""
    if isinstance(message, dict) and message.get("weight") is not None:
        notes.warn("unrecognized_key", "weight")


def _said(answer: object) -> list[dict[str, Any]]:
    """What an answer says, without the ways in which the same may be written; empty where it is no answer."""
    if not isinstance(answer, list) or not all(isinstance(message, dict) for message in answer):
        return []
    return [
        {key: _text(message[key]) for key in _SAYING if message.get(key) not in (None, "", [])} for message in answer
    ]


def _text(value: object) -> object:
    """The text of a list of text parts; anything else as it is."""
    if not isinstance(value, list) or not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        return value
    return "".join(str(part.get("text")) for part in value)
