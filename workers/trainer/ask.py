"""--ask: chats on stdin, answers of base and tuned model on stdout, greedy."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from workers.trainer import answers, chats, environment, templates
from workers.trainer import model as models
from workers.trainer.chats import Chat
from workers.trainer.failures import Failure
from workers.trainer.report import Emit
from workers.trainer.spec import Base

_ROOM = 256  # tokens of an answer
_PLAIN = {"device": "cpu", "dtype": "float32", "packing": False}


def main(source: str, tuned: Path | None, emit: Emit) -> int:
    """Answer every line of stdin, each model by its own chat template.

    Raises Failure when a model does not load or a line is not a chat.
    """
    torch.set_num_threads(environment.default_threads())
    base = Base(name=source, source=source)
    asked = {"base": (_plain(base), templates.load(base))}
    if tuned is not None:
        asked["tuned"] = _tuned(tuned, base), templates.load(Base(name=str(tuned), source=str(tuned)))
    for line in sys.stdin:
        if line.strip():
            chat = _chat(line)
            emit({name: _answer(model, template, chat) for name, (model, template) in asked.items()})
    return 0


def _chat(line: str) -> Chat:
    try:
        chat = chats.read(json.loads(line))
    except ValueError as error:
        raise Failure("chat_invalid", f"A line on stdin is not JSON: {error}") from error
    if not isinstance(chat, Chat) or chat.findings or not chat.messages:
        raise Failure("chat_invalid", 'Each line on stdin must be a chat: {"messages": [...]}.')
    return chat


def _plain(base: Base) -> Any:
    return models.load_base(base, dtype=torch.float32, device="cpu").eval()


def _tuned(directory: Path, base: Base) -> Any:
    """The tuned model, an adapter on a copy of the base or all weights."""
    if not (directory / "adapter_config.json").exists():
        return models.load_whole(base, directory, dtype=torch.float32, device="cpu").eval()
    from peft import PeftModel

    return PeftModel.from_pretrained(_plain(base), directory).eval()


def _answer(model: Any, template: templates.Template, chat: Chat) -> str:
    ids = answers.prompt_ids(template, chat.messages, chat.tools)
    return answers.answer(model, template, [ids], room=_ROOM, environment=_PLAIN)[0]
