"""A preference row as read: the same conversation with the preferred answer, and with the other one.

Nothing here imports torch.
"""

from typing import Any

from workers.trainer import chats
from workers.trainer.chats import Chat, Finding

_SPELLINGS = (
    ("preferred_output", "preferred_completion"),
    ("non_preferred_output", "non_preferred_completion"),
)  # the second of each is the older one
_SHAPE = '{"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}'


def read(row: Any) -> list[Chat]:
    """The preferred chat and the other one; only their last turns are trained on.

    A row of another shape comes back as one empty chat with a finding.
    """
    asked = row.get("input") if isinstance(row, dict) else None
    keys = [next((key for key in spellings if isinstance(row, dict) and key in row), "") for spellings in _SPELLINGS]
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list) or "" in keys:
        return [Chat([], None, [], [Finding("$", "row_shape", type(row).__name__, _SHAPE, "Rewrite the row.")])]
    return [_chat(asked, row[key], f"$.{key}") for key in keys]


def _chat(asked: dict[str, Any], answer: Any, path: str) -> Chat:
    findings: list[Finding] = []
    messages = chats.messages(asked["messages"], "$.input.messages", findings)
    turns = chats.messages(answer if isinstance(answer, list) else [], path, findings)
    if not turns or turns[-1]["role"] != "assistant":
        wanted = "messages, the last of them the assistant's"
        findings.append(Finding(path, "answer_missing", "no answer at the end", wanted, "Add the answer."))
    assistant = sum(message["role"] == "assistant" for message in [*messages, *turns])
    trained = [turn == assistant - 1 for turn in range(assistant)]
    return Chat([*messages, *turns], chats.tools(asked), trained, findings, "$.input")
