"""What a message says: text, or parts that are text; pictures, sound and files are findings and are never fetched."""

from typing import Any

from app.core.dataset.findings import ABSENT
from app.core.dataset.notes import Notes

_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal")
_MAY_BE_EMPTY = ("tool", "function")  # a call may well give nothing back

_UNTRAINABLE = {
    "image_url": "image",
    "image": "image",
    "input_image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "video_url": "video",
    "video": "video",
    "file": "file",
    "input_file": "file",
}


def check_content(message: dict[str, Any], role: str, path: str, notes: Notes) -> None:
    """Check the content of the message at the path, whatever its role."""
    content = message.get("content")
    if isinstance(content, str):
        says_something = bool(content) and not content.isspace()
    elif content is None:
        _check_absent(message, role, path, notes)
        return
    elif isinstance(content, list) and content:
        says_something = _check_parts(content, role, f"{path}.content", notes)
    else:
        fix = "Write a string; put anything that is not text into text first."
        notes.wrong(f"{path}.content", "data_type", content, expected="a string, or a list of text parts", fix=fix)
        return
    if says_something or role in _MAY_BE_EMPTY:
        return
    if role != "assistant":
        notes.warn("empty_content")
    elif not _has_instead(message):
        _note_missing(message, "missing_content", path, notes)


def _check_absent(message: dict[str, Any], role: str, path: str, notes: Notes) -> None:
    if role in ("assistant", "unknown") and _has_instead(message):
        return
    if "content" not in message:
        _note_missing(message, "message_missing_key", path, notes)
    elif role != "function":
        _note_missing(message, "missing_content", path, notes)


def _has_instead(message: dict[str, Any]) -> bool:
    return any(message.get(key) for key in _INSTEAD_OF_CONTENT)


def _note_missing(message: dict[str, Any], code: str, path: str, notes: Notes) -> None:
    expected = "text; only an assistant with tool_calls, function_call or refusal may go without"
    fix = "Write what is said, or remove the message."
    notes.wrong(f"{path}.content", code, message.get("content", ABSENT), expected=expected, fix=fix)


def _check_parts(parts: list[Any], role: str, path: str, notes: Notes) -> bool:
    """Check each part, and return whether one of them says something."""
    says_something = False
    for index, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" or (kind == "refusal" and role == "assistant"):
            text = part.get(kind, ABSENT)
            says_something |= isinstance(text, str) and bool(text) and not text.isspace()
            if not isinstance(text, str):
                fix = f'Write {{"type": "{kind}", "{kind}": "…"}}.'
                notes.wrong(f"{path}[{index}].{kind}", "data_type", text, expected="a string", fix=fix)
        else:
            says_something = True  # one finding is enough
            _note_part(part, kind, f"{path}[{index}]", notes)
    return says_something


def _note_part(part: object, kind: object, path: str, notes: Notes) -> None:
    medium = _UNTRAINABLE.get(kind) if isinstance(kind, str) else None
    if medium is None:
        expected = 'an object {"type": "text", "text": "…"}'
        notes.wrong(path, "data_type", part, expected=expected, fix="Write the part as text, or remove it.")
        return
    notes.wrong(
        f"{path}.type",
        f"{medium}_not_supported",
        kind,
        expected="text only: nothing is fetched, and text is what is trained",
        fix=f"Describe the {medium} as text, or remove it or the row.",
    )
