"""The model's own chat template, and where in its text the assistant's turns lie.

A template with `generation` marks says so itself. In one without them the turns are found: a turn begins where the
template would let the model begin, and ends with the token the template ends it with. So the text trained on is
always the text the model will be served with.
"""

import re
from dataclasses import dataclass
from typing import Any

import jinja2
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from workers.trainer.failures import Failure
from workers.trainer.spec import Base

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

        Raises Refused, and Failure `chat_template_unsupported` where the model has no chat template.
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
        try:
            texts, spans = render_jinja_template(
                conversations=[self._spelled(messages)],
                tools=tools,
                chat_template=self.source,
                return_assistant_tokens_mask=self.marked,
                add_generation_prompt=prompt,
                **self.tokenizer.special_tokens_map,
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise Refused(str(error)) from error
        return texts[0], spans[0] if self.marked else []

    def _spelled(self, messages: Messages) -> Messages:
        if "developer" in (self.source or ""):
            return messages
        return [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]


def _shared(one: str, other: str) -> int:
    """Characters that both texts begin with."""
    if one.startswith(other):
        return len(other)
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def load(base: Base) -> Template:
    """The model's tokenizer and template.

    Raises Failure `model_load_failed` or `chat_template_unsupported`.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.source, revision=base.revision, trust_remote_code=False)
    except Exception as error:
        raise load_failed(base, error) from error
    if not tokenizer.is_fast:
        raise Failure(
            "model_load_failed", f"{base.name}: its tokenizer has no tokenizer.json, which this trainer needs."
        )
    source = tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    return Template(tokenizer, source, _end_of_turn(tokenizer, source)) if source else Template(tokenizer, None)


def _end_of_turn(tokenizer: Any, source: str) -> str:
    """The special token that ends an assistant's turn, "" where it just ends.

    Raises Failure `chat_template_unsupported` when the turns of a plain conversation cannot be told apart.
    """
    bare = Template(tokenizer, source)
    try:
        text, _ = bare._rendered(_PROBE, None, prompt=False)
        rest = text[text.index("Four.") + len("Four.") :].lstrip()
        special = sorted((token for token in tokenizer.get_added_vocab() if rest.startswith(token)), key=len)
        ended = Template(tokenizer, source, special[-1] if special else "")
        _, spans = ended.render(_PROBE, None)
        read = [text[start:end] for start, end in spans]
    except (Refused, ValueError) as error:
        raise unsupported(f"its chat template does not render a plain conversation ({error})") from error
    if len(read) != 2 or not all(
        "Four." in read[0] and "Still" not in read[0] and "Still 4." in turn for turn in read[1:]
    ):
        raise unsupported("its chat template has no generation marks, and its assistant turns cannot be found")
    return ended.end


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
