"""Base against tuned: greedy answers to the last assistant turn of validation rows, and how many are exactly right."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers.trainer import model as models
from workers.trainer import publishing, rows
from workers.trainer.batches import Rows
from workers.trainer.chats import Chat, Completion
from workers.trainer.lifeline import Lifeline
from workers.trainer.preparation import Run, Stopped
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


def write(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Answer up to spec.answers validation rows into answers.jsonl and emit the counts. Raises Stopped."""
    engine, template, spec = run.engine, run.template, run.spec
    asked = questions(run.directory / spec.valid_file, run.valid, template, spec)
    if not asked:
        return
    prompts, room = [question.ids for question in asked], answer_tokens(asked, template)

    def answered(model: Any) -> list[str]:
        if lifeline.stop_asked:
            raise Stopped(run.step)
        return answer(model.eval(), template, prompts, room=room, environment=engine.environment)

    tuned = answered(engine.model)
    if hasattr(engine.model, "disable_adapter"):
        with engine.model.disable_adapter():
            base = answered(engine.model)
    else:
        base = answered(models.load_base(spec.base, dtype=torch.float32, device=engine.environment["device"]))
    written = [_line(*both) for both in zip(asked, base, tuned, strict=True)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in written)
    publishing.write_file(run.directory / "answers.jsonl", text)
    emit({
        "type": "answers", "path": "answers.jsonl", "total": len(written),
        "base_exact": sum(line["base_exact"] for line in written),
        "tuned_exact": sum(line["tuned_exact"] for line in written),
    })  # fmt: skip


def _line(question: Question, base: str, tuned: str) -> dict[str, Any]:
    expected = question.expected.strip()
    return {
        "line": question.line, "messages": question.messages, "expected": question.expected, "base": base,
        "tuned": tuned, "base_exact": base.strip() == expected, "tuned_exact": tuned.strip() == expected,
    }  # fmt: skip


def questions(path: Path, valid: Rows | None, template: Template, spec: Spec) -> list[Question]:
    """The first validation rows whose last assistant turn is plain text and whose prompt leaves room for an answer.

    Of a preference row the preferred answer is expected.
    """
    found: list[Question] = []
    if valid is None:
        return found
    lines = frozenset(valid.lines.tolist())
    for number, line in rows.read_lines(path):
        if number not in lines:
            continue
        row = rows.READERS[spec.method](json.loads(line))[0]
        found += (q for q in _question(number, row, template) if len(q.ids) < spec.max_length)
        if len(found) >= spec.answers:
            break
    return found[: spec.answers]


def _question(number: int, row: Chat | Completion, template: Template) -> Iterator[Question]:
    if isinstance(row, Completion):
        ids = rows.prompt_ids(row.prompt, template)
        yield Question(number, [{"role": "user", "content": row.prompt}], ids, row.completion)
        return
    turns = [place for place, message in enumerate(row.messages) if message["role"] == "assistant"]
    if not turns or not turns[-1] or row.messages[turns[-1]].get("tool_calls"):
        return
    asked = row.messages[: turns[-1]]
    try:
        with template.confined(f"the prompt of line {number}"):
            ids = prompt_ids(template, asked, row.tools)
    except Refused:
        return
    yield Question(number, asked, ids, row.messages[turns[-1]]["content"])


def prompt_ids(template: Template, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> list[int]:
    ids: list[int] = template.tokenizer(template.prompt(messages, tools), add_special_tokens=False)["input_ids"]
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
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (template.end_ids or [0])[0]
    longest = max(len(ids) for ids in prompts)
    padded = torch.tensor([[pad] * (longest - len(ids)) + ids for ids in prompts])  # [prompts, longest]
    seen = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
    device = environment["device"]
    with models.plain_attention(model), models.precision(environment):
        grown = model.generate(
                input_ids=padded.to(device), attention_mask=seen.to(device), max_new_tokens=room, do_sample=False,
                num_beams=1, use_cache=True, pad_token_id=pad, eos_token_id=template.end_ids or None,
            )  # fmt: skip
    return [tokenizer.decode(row, skip_special_tokens=True) for row in grown[:, longest:].tolist()]
