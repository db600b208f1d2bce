"""A training row as read: legacy and foreign spellings mapped to what chat templates expect, findings for the rest."""

import json
from dataclasses import dataclass, field
from typing import Any

MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content")


@dataclass(frozen=True)
class Finding:
    """Something in a row that cannot be trained on as it is, and how to mend it."""

    path: str  # JSON path in the row
    code: str
    found: str
    expected: str
    fix: str


@dataclass(frozen=True)
class Chat:
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    trained: list[bool]  # one per assistant message
    findings: list[Finding] = field(default_factory=list)
    path: str = "$"  # of what holds messages and tools


@dataclass(frozen=True)
class Completion:
    prompt: str
    completion: str
    findings: list[Finding] = field(default_factory=list)


def read(row: Any) -> Chat | Completion:
    """The row in the trainer's own shape; a row that is neither shape comes back as an empty chat with a finding."""
    if isinstance(row, dict) and isinstance(row.get("messages"), list):
        return _chat(row)
    if isinstance(row, dict) and isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        return Completion(row["prompt"], row["completion"])
    finding = Finding(
        "$", "row_shape", type(row).__name__, '{"messages": [...]} or {"prompt", "completion"}', "Rewrite the row."
    )
    return Chat([], None, [], [finding])


def _chat(row: dict[str, Any]) -> Chat:
    findings: list[Finding] = []
    read_messages = messages(row["messages"], "$.messages", findings)
    trained = [
        (raw.get("weight", 1) if isinstance(raw, dict) else 1) != 0
        for raw, message in zip(row["messages"], read_messages, strict=True)
        if message["role"] == "assistant"
    ]
    return Chat(read_messages, tools(row), trained, findings)


def messages(raw: list[Any], path: str, findings: list[Finding]) -> list[dict[str, Any]]:
    """The messages of the list at the path, with findings for what cannot be read."""
    return [_message(message, f"{path}[{place}]", findings) for place, message in enumerate(raw)]


def _message(raw: Any, path: str, findings: list[Finding]) -> dict[str, Any]:
    if not isinstance(raw, dict) or not isinstance(raw.get("role"), str):
        findings.append(Finding(path, "message_shape", type(raw).__name__, "an object with a role", "Add a role."))
        return {"role": "user", "content": ""}
    message = {key: raw[key] for key in MESSAGE_KEYS if raw.get(key) is not None}
    message["content"] = _text(raw.get("content") or raw.get("refusal"), f"{path}.content", findings)
    if message["role"] == "function":
        message["role"] = "tool"
    calls = raw.get("tool_calls") or ([{"function": raw["function_call"]}] if raw.get("function_call") else [])
    if calls:
        message["tool_calls"] = [_call(call, f"{path}.tool_calls[{i}]", findings) for i, call in enumerate(calls)]
    else:
        message.pop("tool_calls", None)
    return message


def _text(content: Any, path: str, findings: list[Finding]) -> str:
    """Text of a content that is a string, absent, or a list of parts; anything that is not text becomes a finding."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        findings.append(Finding(path, "content_type", type(content).__name__, "text", "Use a string."))
        return ""
    texts = []
    for place, part in enumerate(content):
        if isinstance(part, dict) and isinstance(text := part.get("text", part.get("refusal")), str):
            texts.append(text)
            continue
        kind = str(part.get("type", "object")) if isinstance(part, dict) else type(part).__name__
        code = "image_not_supported" if "image" in kind else "part_not_supported"
        findings.append(
            Finding(f"{path}[{place}]", code, kind, "a text part", "Remove it: this model reads text only.")
        )
    return "".join(texts)


def _call(call: Any, path: str, findings: list[Finding]) -> dict[str, Any]:
    """A tool call whose arguments are an object, as templates expect, where the JSON text allows it."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        findings.append(Finding(path, "tool_call_shape", type(call).__name__, "function.name", "Name the function."))
        return {"type": "function", "function": {"name": "", "arguments": {}}}
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            findings.append(
                Finding(f"{path}.function.arguments", "arguments_not_json", arguments[:80], "a JSON object", "Mend it.")
            )
    named = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": call["id"], **named} if isinstance(call.get("id"), str) else named


def tools(row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The row's tools; the deprecated `functions` are tools of type function."""
    if isinstance(row.get("tools"), list) and row["tools"]:
        return [tool for tool in row["tools"] if isinstance(tool, dict)]
    if isinstance(row.get("functions"), list) and row["functions"]:
        return [{"type": "function", "function": function} for function in row["functions"]]
    return None
