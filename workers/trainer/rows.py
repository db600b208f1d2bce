"""Rows → token ids and which of them are trained on; the same code counts for --inspect and feeds the training.

Nothing here imports torch.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core import carveout
from workers.trainer import chats, preferences, templates
from workers.trainer.chats import Chat, Completion, Finding
from workers.trainer.failures import Failure

_RENDER_ROWS = 500  # rows tokenized in one call, or as many as have this many characters
_RENDER_CHARACTERS = 1_000_000
_SAME = Finding(
    "$",
    "equal_outputs",
    "the same text for both answers",
    "answers that differ",
    "Mend one of them, or remove the row.",
)


@dataclass(frozen=True)
class Encoded:
    """A document: `trained[i]` says whether token i is a target; `length` counts the tokens before it was cut.

    A row is one document, or for dpo two: the preferred answer's, then the other's.
    """

    line: int  # from 1
    ids: list[int]
    trained: list[bool]
    length: int
    findings: tuple[Finding, ...] = ()

    @property
    def cut(self) -> bool:
        return self.length > len(self.ids)


@dataclass(frozen=True)
class Rendered:
    """One chat as text, and the character spans that are trained on."""

    line: int
    text: str
    spans: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...] = ()


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a JSONL file, numbered from 1, empty ones left out, a leading byte order mark removed."""
    with path.open("r", encoding="utf-8-sig", newline="\n", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def held_out(path: Path, share: float, *, seed: int) -> frozenset[int]:
    """The numbers of the lines of a training file that are validated on instead of trained on."""
    if not share:
        return frozenset()
    numbers = [number for number, _ in read_lines(path)]
    return frozenset(numbers[place] for place in carveout.places(len(numbers), share, seed=seed))


def read_supervised(row: Any) -> list[Chat | Completion]:
    return [chats.read(row)]


READERS: dict[str, Callable[[Any], Sequence[Chat | Completion]]] = {
    "supervised": read_supervised,
    "dpo": preferences.read,
}
"""What turns a row into its documents, by method."""


def encode_file(
    path: Path,
    template: templates.Template,
    *,
    method: str,
    max_length: int,
    wanted: Callable[[int], bool] = lambda line: True,
) -> Iterator[Encoded]:
    """The documents of every row on a wanted line, in order.

    Raises nothing for a bad row: it comes back as an empty one with findings.
    """
    waiting: list[Rendered | Encoded] = []
    characters = 0
    noun = "the validation file" if path.name == "valid.jsonl" else "the training file"
    for number, line in read_lines(path):
        if not wanted(number):
            continue
        with template.confined(f"line {number} of {noun}"):
            new = _rendered(number, line, template, READERS[method])
        waiting += new
        characters += sum(len(row.text) for row in new if isinstance(row, Rendered))
        if len(waiting) >= _RENDER_ROWS or characters >= _RENDER_CHARACTERS:
            yield from _tokenized(waiting, template, max_length)
            waiting, characters = [], 0
    yield from _tokenized(waiting, template, max_length)


def require_trainable(row: Encoded, *, file: str) -> Encoded:
    """The row itself. Raises Failure `row_unsupported` when it has findings."""
    if row.findings:
        first = row.findings[0]
        raise Failure(
            "row_unsupported",
            f"{file} line {row.line}: {first.path}: found {first.found}, expected {first.expected}. {first.fix}",
            param="training_file" if file == "train.jsonl" else "validation_file",
        )
    return row


def _rendered(
    number: int, line: str, template: templates.Template, read: Callable[[Any], Sequence[Chat | Completion]]
) -> list[Rendered | Encoded]:
    try:
        raw = json.loads(line)
        json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        broken = Finding("$", "not_unicode", str(error), "text in UTF-8", "Save the file as UTF-8.")
        return [Rendered(number, "", (), (broken,))]
    except (ValueError, RecursionError) as error:
        broken = Finding("$", "not_json", str(error), "one JSON object per line", "Mend the line.")
        return [Rendered(number, "", (), (broken,))]
    documents = [_document(number, document, template) for document in read(raw)]
    if bad := [document for document in documents if document.findings]:
        return bad[:1]
    if len(documents) > 1 and len({document.text for document in documents if isinstance(document, Rendered)}) == 1:
        return [Rendered(number, "", (), (_SAME,))]
    return documents


def _document(number: int, row: Chat | Completion, template: templates.Template) -> Rendered | Encoded:
    if row.findings:
        return Rendered(number, "", (), tuple(row.findings))
    if isinstance(row, Completion):
        return _completion(number, row, template)
    return _chat(number, row, template)


def _completion(number: int, row: Completion, template: templates.Template) -> Encoded:
    """Prompt and completion tokenized apart, as they will be when the model is asked; the end of text is trained on."""
    prompt = prompt_ids(row.prompt, template)
    answer = template.tokenizer(row.completion, add_special_tokens=False)["input_ids"] + template.end_ids[-1:]
    trained = [False] * len(prompt) + [True] * len(answer)
    return Encoded(number, prompt + answer, trained, len(trained))


def prompt_ids(prompt: str, template: templates.Template) -> list[int]:
    """A bare prompt with the special tokens its tokenizer begins texts with, and none that ends one."""
    ids: list[int] = template.tokenizer(prompt)["input_ids"]
    return ids[:-1] if ids[-1:] == template.end_ids[-1:] else ids


def _chat(number: int, row: Chat, template: templates.Template) -> Rendered:
    try:
        text, spans = template.render(row.messages, row.tools)
        findings = tuple(_ignored(row, text, template))
    except templates.Refused as refused:
        finding = Finding(
            f"{row.path}.messages", "template_refused", str(refused), "turns the template accepts", "Mend the turns."
        )
        return Rendered(number, "", (), (finding,))
    if len(spans) != len(row.trained):
        finding = Finding(
            f"{row.path}.messages",
            "assistant_turns_unmarked",
            f"{len(spans)} marked turns",
            f"{len(row.trained)} assistant turns",
            "The chat template must put one generation mark around each assistant turn.",
        )
        return Rendered(number, "", (), (finding,))
    kept = tuple(span for span, wanted in zip(spans, row.trained, strict=True) if wanted)
    return Rendered(number, text, kept, findings)


def _ignored(row: Chat, text: str, template: templates.Template) -> Iterator[Finding]:
    """Findings for tools and tool calls that the template leaves out of the text."""
    if row.tools and template.render(row.messages, None)[0] == text:
        yield Finding(
            f"{row.path}.tools", "tools_ignored", f"{len(row.tools)} tools",
            "a chat template that shows tools to the model",
            "Remove tools from the row, or choose a base model whose chat template knows them.",
        )  # fmt: skip
    if any("tool_calls" in message for message in row.messages):
        bare: list[dict[str, Any]] = [{k: v for k, v in m.items() if k != "tool_calls"} for m in row.messages]
        if template.render(bare, row.tools)[0] == text:
            yield Finding(
                f"{row.path}.messages", "tool_calls_ignored", "tool_calls", "a chat template that writes tool calls",
                "Choose a base model whose chat template knows tool calls, or write them as text.",
            )  # fmt: skip


def _tokenized(batch: list[Rendered | Encoded], template: templates.Template, max_length: int) -> Iterator[Encoded]:
    texts = [row.text for row in batch if isinstance(row, Rendered)]
    with template.timed(f"the rows from line {batch[0].line} to line {batch[-1].line}" if batch else ""):
        tokens = template.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True) if texts else {}
    encoded = zip(tokens.get("input_ids", ()), tokens.get("offset_mapping", ()), strict=True)
    for row in batch:
        yield _cut(_labelled(row, *next(encoded)) if isinstance(row, Rendered) else row, max_length)


def _labelled(row: Rendered, ids: list[int], offsets: list[tuple[int, int]]) -> Encoded:
    """Tokens that overlap a span are trained on."""
    trained = [False] * len(ids)
    spans = iter(row.spans)
    span = next(spans, None)
    for place, (start, end) in enumerate(offsets):
        while span is not None and start >= span[1]:
            span = next(spans, None)
        if span is None:
            break
        trained[place] = start < end and end > span[0]
    return Encoded(row.line, list(ids), trained, len(ids), row.findings)


def _cut(row: Encoded, max_length: int) -> Encoded:
    if len(row.ids) <= max_length:
        return row
    return replace(row, ids=row.ids[:max_length], trained=row.trained[:max_length])
