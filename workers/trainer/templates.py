"""The chat template, the model's or the job's own, and where in its text the assistant's turns lie.

A template with `generation` marks says so itself. In one without them the turns are found: a turn begins where the
template would let the model begin, and ends with the token the template ends it with. So the text trained on is
always the text the model will be served with.
"""

import random
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from workers.trainer import confinement
from workers.trainer.failures import Failure
from workers.trainer.spec import Base, OwnTemplate

Span = tuple[int, int]  # characters, the end excluded
Messages = list[dict[str, Any]]

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_ASKED = {"role": "user", "content": "Two plus two?"}
_PROBE: Messages = [
    _ASKED,
    {"role": "assistant", "content": "Four."},
    _ASKED,
    {"role": "assistant", "content": "Still 4."},
]


class Refused(Exception):
    """The template does not accept a conversation; the message is the template's own."""


@dataclass(frozen=True)
class Template:
    """A tokenizer with its chat template; `end` is the text of the token that ends an answer, perhaps empty."""

    tokenizer: Any
    source: str | None  # Jinja text; None for a base model that only takes completions
    end: str = ""
    own: OwnTemplate | None = None  # where the source came with the job, and is rendered under its limits
    now: datetime | None = None  # what it is told that asks for the date; None: the clock's

    def confined(self, row: str) -> AbstractContextManager[None]:
        """The block in which a row is rendered; `row` names it in words. Raises Failure `chat_template_invalid`."""
        return confinement.confined(self.own, row)

    def timed(self, rows: str) -> AbstractContextManager[None]:
        """The block in which what was rendered of these rows becomes tokens. Raises as `confined` does."""
        return confinement.timed(self.own, rows)

    @property
    def marked(self) -> bool:
        return _MARK.search(self.source or "") is not None

    @property
    def end_ids(self) -> list[int]:
        """Tokens that end an answer: the end of a turn, and the end of the text."""
        turn = self.tokenizer.convert_tokens_to_ids(self.end) if self.end else None
        return [token for token in dict.fromkeys((turn, self.tokenizer.eos_token_id)) if token is not None]

    def render(self, messages: Messages, tools: list[dict[str, Any]] | None) -> tuple[str, list[Span]]:
        """The conversation as text, and one span per assistant turn that the template shows, its end included.

        Raises Refused, Failure `chat_template_unsupported` where there is no chat template, and Failure
        `chat_template_invalid` where the job's own one reaches for what it may not have.
        """
        text, marked = self._rendered(messages, tools, prompt=False)
        if self.marked:
            return text, [self._with_end(text, span) for span in marked]
        turns = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        return text, [self._found(text, messages, place, tools) for place in turns]

    def prompt(self, messages: Messages, tools: list[dict[str, Any]] | None) -> str:
        """The conversation as text up to where the model is to answer. Raises as render does."""
        return self._rendered(messages, tools, prompt=True)[0]

    def _found(self, text: str, messages: Messages, place: int, tools: list[dict[str, Any]] | None) -> Span:
        """The turn of messages[place]: from the prompt that leads to it to its end-of-turn token.

        A prompt may open with more than the answered text keeps, such as the start of a thought; then the turn begins
        where the two part.
        """
        start = _shared(text, self.prompt(messages[:place], tools))
        asked = self._rendered(messages[:place], tools, prompt=False)[0].rstrip() if place else ""
        if start < len(asked):
            raise Refused(f"the chat template writes messages before number {place} differently once it is answered")
        content = messages[place]["content"]
        searched = start + len(content) if text.startswith(content, start) else start
        end = text.find(self.end, searched) if self.end else -1
        return start, end + len(self.end) if end >= 0 else len(text)

    def _with_end(self, text: str, span: Span) -> Span:
        """The span with the end-of-turn token behind it, where the mark left that out."""
        start, end = span
        if self.end and text.startswith(self.end, end) and not text.endswith(self.end, start, end):
            return start, end + len(self.end)
        return span

    def _rendered(self, messages: Messages, tools: Any, *, prompt: bool) -> tuple[str, list[Span]]:
        if self.source is None:
            raise unsupported("it has no chat template")
        if self.own:
            random.seed(0)  # it may draw lots: then the same ones at each attempt
        try:
            compiled = _compile_jinja_template(self.source)  # the one that is rendered below: it is kept
            compiled.globals["strftime_now"] = (self.now or datetime.now(UTC)).strftime
            texts, spans = render_jinja_template(
                conversations=[self._spelled(messages)],
                tools=tools,
                chat_template=self.source,
                return_assistant_tokens_mask=self.marked,
                add_generation_prompt=prompt,
                **self.tokenizer.special_tokens_map,
            )
        except (MemoryError, RecursionError):
            raise
        except SecurityError as error:
            if self.own:
                raise confinement.invalid(f"it reaches for what is not allowed: {error}") from error
            raise Refused(_said(error)) from error
        except Exception as error:  # a template may raise anything
            raise Refused(_said(error)) from error
        text = confinement.bounded(texts[0], [messages, tools]) if self.own else texts[0]
        return text, spans[0] if self.marked else []

    def _spelled(self, messages: Messages) -> Messages:
        if "developer" in (self.source or ""):
            return messages
        return [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]


def _said(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return confinement.legible(f"line {error.lineno}: {error.message}")
    is_own = isinstance(error, jinja2.TemplateError)
    return confinement.legible(str(error) if is_own else f"{type(error).__name__}: {error}")


def _shared(one: str, other: str) -> int:
    """Characters that both texts begin with."""
    if one.startswith(other):
        return len(other)
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def load(base: Base, own: OwnTemplate | None = None, *, now: datetime | None = None) -> Template:
    """The model's tokenizer, and its template or the job's own, with which the tokenizer is then saved.

    `now` is what a template is told that asks for the date, so that it writes the same on another day.

    Raises Failure `model_load_failed`, `chat_template_unsupported`, or `chat_template_invalid` for the job's own.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.source, revision=base.revision, trust_remote_code=False)
    except Exception as error:
        raise load_failed(base, error) from error
    if not tokenizer.is_fast:
        raise Failure(
            "model_load_failed", f"{base.name}: its tokenizer has no tokenizer.json, which this trainer needs."
        )
    if own is not None:
        tokenizer.chat_template = own.source
        with confinement.confined(own, "a plain conversation"):
            _refuse_private(own.source)
            return _ended(Template(tokenizer, own.source, own=own, now=now))
    source = tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    return _ended(Template(tokenizer, source, now=now)) if source else Template(tokenizer, None)


def _refuse_private(source: str) -> None:
    """Raise Failure for an attribute that the sandbox hides; text that does not parse is told of by its first use."""
    try:
        parsed = _compile_jinja_template(source).environment.parse(source)
    except (jinja2.TemplateError, SyntaxError, ValueError):
        return
    for node in parsed.find_all(jinja2.nodes.Getattr):
        if node.attr.startswith("_"):
            why = f"it reaches for an attribute that is not allowed: {node.attr}, in line {node.lineno}"
            raise confinement.invalid(why)


def _ended(bare: Template) -> Template:
    """The template with the special token that ends an assistant's turn, "" where it just ends.

    Raises Failure `chat_template_unsupported`, for the job's own template `chat_template_invalid`, when the turns of a
    plain conversation cannot be told apart.
    """
    refused = confinement.invalid if bare.own else unsupported
    try:
        text, _ = bare._rendered(_PROBE, None, prompt=False)
        if "Four." not in text:
            raise Refused("what it renders does not hold what the assistant said")
        rest = text[text.index("Four.") + len("Four.") :].lstrip()
        special = sorted((token for token in bare.tokenizer.get_added_vocab() if rest.startswith(token)), key=len)
        ended = replace(bare, end=special[-1] if special else "")
        _, spans = ended.render(_PROBE, None)
        read = [text[start:end] for start, end in spans]
    except (Refused, ValueError) as error:
        noun = "it" if bare.own else "its chat template"
        raise refused(f"{noun} does not render a plain conversation ({error})") from error
    if len(read) != 2 or not all(
        "Four." in read[0] and "Still" not in read[0] and "Still 4." in turn for turn in read[1:]
    ):
        noun = "it" if bare.own else "its chat template"
        wrap = ": wrap each, with the token that ends it, in {% generation %} … {% endgeneration %}" if bare.own else ""
        raise refused(f"the assistant's turns cannot be found in what {noun} renders{wrap}")
    return ended


def load_failed(base: Base, error: BaseException) -> Failure:
    return Failure(
        "model_load_failed",
        f"The base model {base.name} could not be loaded: {type(error).__name__}: {str(error)[:400]}. "
        "Check the catalogue's source and revision, that the files are complete, and that its weights are safetensors.",
        param="model",
    )


def unsupported(why: str) -> Failure:
    return Failure(
        "chat_template_unsupported",
        f"The base model cannot be trained on chats: {why}. Take a copy of the model in a local directory whose "
        "chat_template.jinja wraps every assistant turn, its end-of-turn token included, in "
        "{% generation %} … {% endgeneration %}, and name that directory as the catalogue's source.",
        param="model",
    )
