"""Chat templates with `generation` marks: the model's own where it has them, else one supplied for its family.

A supplied template is used only where it writes exactly what the model's own template writes.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from workers.trainer.failures import Failure
from workers.trainer.spec import Base

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_SUPPLIED = Path(__file__).with_name("templates")


class Refused(Exception):
    """The template does not accept a conversation; the message is the template's own."""


@dataclass(frozen=True)
class Template:
    """A tokenizer with the chat template to train with; `end_id` ends an assistant's turn."""

    tokenizer: Any
    source: str | None  # Jinja text with marks; None for a base model that only takes completions
    knows_developer: bool
    end_id: int | None

    def render(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, *, prompt: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as text and the character spans inside marks; `prompt` opens an assistant turn at the end.

        Raises Refused, and Failure `chat_template_unsupported` where the model has no chat template.
        """
        if self.source is None:
            raise unsupported("it has no chat template")
        try:
            texts, spans = render_jinja_template(
                conversations=[self._spelled(messages)],
                tools=tools,
                chat_template=self.source,
                return_assistant_tokens_mask=True,
                add_generation_prompt=prompt,
                **self.tokenizer.special_tokens_map,
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise Refused(str(error)) from error
        return texts[0], spans[0]

    def _spelled(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.knows_developer:
            return messages
        return [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]


def load(base: Base) -> Template:
    """The model's tokenizer and training template.

    Raises Failure `model_load_failed` or `chat_template_unsupported`.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.source, revision=base.revision, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - whatever the files hold, the caller is told what failed
        raise load_failed(base, error) from error
    if not tokenizer.is_fast:
        raise Failure("model_load_failed", f"{base.name}: its tokenizer has no tokenizer.json, which this trainer needs.")
    source = tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    if source is not None and not _MARK.search(source):
        source = _supplied(tokenizer, source)
    return Template(tokenizer, source, source is not None and "developer" in source, tokenizer.eos_token_id)


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
        f"The base model cannot be trained on chats: {why}. Put a chat_template.jinja into the model's directory that "
        "wraps every assistant turn, its end-of-turn token included, in {% generation %} … {% endgeneration %}.",
        param="model",
    )


def _supplied(tokenizer: Any, own: str) -> str:
    """The supplied template that writes what `own` writes. Raises Failure `chat_template_unsupported`."""
    for path in sorted(_SUPPLIED.glob("*.jinja")):
        candidate = path.read_text("utf-8")
        if all(_same(tokenizer, own, candidate, messages) for messages in _PROBES):
            return candidate
    raise unsupported("its chat template has no generation marks and is not one of the known families")


_USER, _REPLY = {"role": "user", "content": "Two plus two?"}, {"role": "assistant", "content": "Four."}
_PROBES: list[list[dict[str, Any]]] = [
    [_USER, _REPLY],
    [{"role": "system", "content": "Be brief."}, _USER, _REPLY],
    [_USER, _REPLY, {"role": "user", "content": " And\nthree? "}, {"role": "assistant", "content": "Five.\nSix."}],
]


def _same(tokenizer: Any, own: str, candidate: str, messages: list[dict[str, Any]]) -> bool:
    return _text(tokenizer, own, messages) == _text(tokenizer, candidate, messages)


def _text(tokenizer: Any, source: str, messages: list[dict[str, Any]]) -> str | None:
    try:
        texts, _ = render_jinja_template(
            conversations=[messages], chat_template=source, **tokenizer.special_tokens_map
        )
    except (jinja2.TemplateError, TypeError, ValueError):
        return None
    return texts[0]
