"""The rows of method supervised: chats {"messages": …}, or completions {"prompt": …, "completion": …}."""

from typing import Any

from app.core.dataset.findings import ABSENT
from app.core.dataset.messages import check_messages
from app.core.dataset.notes import Notes
from app.core.dataset.tools import check_declared

_CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_COMPLETION_KEYS = frozenset({"prompt", "completion"})


def check_row(row: object, notes: Notes) -> str | None:
    """Note all that is wrong with one row, and return "chat", "completion", or None where it is neither."""
    if not isinstance(row, dict):
        fix = "Write one object on each line, without a list around them."
        notes.wrong("$", "data_type", row, expected="an object with messages", fix=fix)
        return None
    if "messages" in row:
        _check_chat(row, notes)
        return "chat"
    if not _COMPLETION_KEYS.isdisjoint(row):
        _check_completion(row, notes)
        return "completion"
    fix = 'Put the conversation under "messages"; each message has a role and a content.'
    if "preferred_output" in row or "preferred_completion" in row:
        fix = 'Ask for the method "dpo", which takes preference rows, or write the conversation under "messages".'
    notes.wrong("$", "missing_messages_list", row, expected="an object with messages", fix=fix)
    return None


def _check_chat(row: dict[str, Any], notes: Notes) -> None:
    check_messages(row["messages"], notes)
    if len(row) == 1:
        return
    notes.warn_of_keys(row, _CHAT_KEYS)
    check_declared(row, "$", notes)


def _check_completion(row: dict[str, Any], notes: Notes) -> None:
    notes.warn_of_keys(row, _COMPLETION_KEYS)
    for key in ("prompt", "completion"):
        if not isinstance(row.get(key), str):
            code = "data_type" if key in row else "missing_key"
            notes.wrong(
                f"$.{key}", code, row.get(key, ABSENT), expected="a string", fix=f"Write the {key} as a string."
            )
    if row.get("completion") == "":
        fix = "Write what the model should answer, or remove the row."
        notes.wrong("$.completion", "missing_content", "", expected="text to learn", fix=fix)
    if row.get("prompt") == "":
        notes.warn("empty_content")
