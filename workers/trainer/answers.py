"""Base against tuned: greedy answers to the last assistant turn of validation rows, and how many are exactly right."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers.trainer import attention, chats, publishing, rows
from workers.trainer import model as models
from workers.trainer.chats import Chat, Completion
from workers.trainer.engine import Engine
from workers.trainer.lifeline import Lifeline
from workers.trainer.report import Emit
from workers.trainer.spec import Spec
from workers.trainer.templates import Refused, Template

_LONGEST_ANSWER = 512  # tokens


@dataclass(frozen=True)
class Question:
    line: int  # from 1
    messages: list[dict[str, Any]]
    ids: list[int]  # the prompt's tokens
    expected: str


def write(
    directory: Path, spec: Spec, template: Template, engine: Engine, lifeline: Lifeline, emit: Emit
) -> None:
    """Answer up to spec.answers rows of valid.jsonl into answers.jsonl and emit the counts."""
    asked = questions(directory / "valid.jsonl", template, limit=spec.answers, max_length=spec.max_length)
    if not asked:
        return
    room = answer_tokens(asked, template)
    engine.model.eval()
    tuned = answer(engine.model, template, [q.ids for q in asked], room=room, environment=engine.environment)
    if hasattr(engine.model, "disable_adapter"):
        with engine.model.disable_adapter():
            base = answer(engine.model, template, [q.ids for q in asked], room=room, environment=engine.environment)
    else:
        untuned = models.load_base(spec.base, dtype=torch.float32, device=engine.environment["device"]).eval()
        base = answer(untuned, template, [q.ids for q in asked], room=room, environment=engine.environment)
    lines = [_line(*both) for both in zip(asked, base, tuned, strict=True)]
    publishing.write_file(
        directory / "answers.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    )
    emit({
        "type": "answers", "path": "answers.jsonl", "total": len(lines),
        "base_exact": sum(line["base_exact"] for line in lines),
        "tuned_exact": sum(line["tuned_exact"] for line in lines),
    })  # fmt: skip


def _line(question: Question, base: str, tuned: str) -> dict[str, Any]:
    expected = question.expected.strip()
    return {
        "line": question.line, "messages": question.messages, "expected": question.expected, "base": base,
        "tuned": tuned, "base_exact": base.strip() == expected, "tuned_exact": tuned.strip() == expected,
    }  # fmt: skip


def questions(path: Path, template: Template, *, limit: int, max_length: int) -> list[Question]:
    """The first rows whose last assistant turn is plain text and whose prompt leaves room for an answer."""
    found: list[Question] = []
    for number, line in rows.read_lines(path):
        row = chats.read(json.loads(line))
        found += (q for q in _question(number, row, template) if len(q.ids) < max_length)
        if len(found) >= limit:
            break
    return found[:limit]


def _question(number: int, row: Chat | Completion, template: Template) -> Iterator[Question]:
    if isinstance(row, Completion):
        ids = template.tokenizer(row.prompt)["input_ids"]
        yield Question(number, [{"role": "user", "content": row.prompt}], ids, row.completion)
        return
    turns = [place for place, message in enumerate(row.messages) if message["role"] == "assistant"]
    if not turns or not turns[-1] or row.messages[turns[-1]].get("tool_calls"):
        return
    asked = row.messages[: turns[-1]]
    try:
        yield Question(number, asked, prompt_ids(template, asked, row.tools), row.messages[turns[-1]]["content"])
    except Refused:
        return


def prompt_ids(template: Template, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> list[int]:
    text, _ = template.render(messages, tools, prompt=True)
    ids: list[int] = template.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def answer_tokens(asked: list[Question], template: Template) -> int:
    """Room for an answer: half again the longest expected one, and a little."""
    longest = max(len(template.tokenizer(q.expected, add_special_tokens=False)["input_ids"]) for q in asked)
    return min(_LONGEST_ANSWER, longest + longest // 2 + 8)


@torch.no_grad()
def answer(
    model: Any, template: Template, prompts: list[list[int]], *, room: int, environment: dict[str, Any]
) -> list[str]:
    """Greedy answers of at most `room` tokens to prompts of token ids, padded on the left to one batch."""
    tokenizer = template.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else template.end_id or 0
    longest = max(len(ids) for ids in prompts)
    padded = torch.tensor([[pad] * (longest - len(ids)) + ids for ids in prompts])  # [prompts, longest]
    seen = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
    device = environment["device"]
    models.use_attention(model, "sdpa")
    try:
        with models.precision(environment):
            grown = model.generate(
                input_ids=padded.to(device), attention_mask=seen.to(device), max_new_tokens=room, do_sample=False,
                num_beams=1, use_cache=True, pad_token_id=pad, eos_token_id=template.end_id,
            )  # fmt: skip
    finally:
        if environment["packing"]:
            models.use_attention(model, attention.NAME)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in grown[:, longest:].tolist()]
