"""The base models that may be tuned: read from a TOML file, looked up by name or alias."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.core.hyperparameters import BaseModel

QUEUE = re.compile(r"[A-Za-z0-9._-]{1,64}")
TRAINING_TYPES = ("lora", "full")


class CatalogueError(ValueError):
    """The catalogue file is wrong; the message says where."""


@dataclass(frozen=True)
class Catalogue:
    """Base models by name, and the aliases that stand for them."""

    models: Mapping[str, BaseModel]

    def find(self, name: str) -> BaseModel | None:
        """The model of this name or alias."""
        if name in self.models:
            return self.models[name]
        return next((model for model in self.models.values() if name in model.aliases), None)

    def queues(self) -> list[str]:
        """The queues that models ask for by name."""
        return sorted({model.queue for model in self.models.values() if model.queue})

    def names(self) -> list[str]:
        """Every name and alias a caller may use, the file's order kept."""
        return [name for model in self.models.values() for name in (model.name, *model.aliases)]


def load(path: Path) -> Catalogue:
    """Read a catalogue. A `source` that is a relative path is taken from the file's folder.

    Raises CatalogueError when the file is not there, is not TOML, or an entry is wrong.
    """
    try:
        state = path.stat()
        return _read(path, (state.st_mtime_ns, state.st_size))
    except OSError as error:
        raise CatalogueError(f"{path}: {error}") from error


@lru_cache(maxsize=4)
def _read(path: Path, state: tuple[int, int]) -> Catalogue:
    """The catalogue as the file holds it in this state, by time of change and size: parsing it takes milliseconds."""
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("model", [])
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path}: {error}") from error
    models: dict[str, BaseModel] = {}
    taken: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        try:
            model = _model(entry, path.parent)
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogueError(f"{path}: model number {number}: {error!r}") from error
        for name in (model.name, *model.aliases):
            if name in taken:
                raise CatalogueError(f"{path}: the name {name!r} stands twice")
            taken.add(name)
        models[model.name] = model
    return Catalogue(models)


def _queue(name: str) -> str:
    if name and not QUEUE.fullmatch(name):
        raise ValueError("queue is 1 to 64 letters, digits, dots, hyphens or underscores")
    return name


def _identity(source: str, revision: str | None) -> str:
    """Of the source as the file spells it: a catalogue that moves with its models still means the same ones."""
    return hashlib.sha256(json.dumps([source, revision]).encode()).hexdigest()[:16]


def _model(entry: Mapping[str, Any], folder: Path) -> BaseModel:
    source = entry["source"]
    rates = {kind: float(rate) for kind, rate in entry["learning_rate"].items()}
    training_type = entry.get("training_type", "lora")
    if set(rates) != set(TRAINING_TYPES) or training_type not in TRAINING_TYPES:
        raise ValueError("learning_rate needs 'lora' and 'full', training_type is one of the two")
    return BaseModel(
        name=entry["name"],
        source=str((folder / source).resolve()) if source.startswith(".") else source,
        revision=entry.get("revision"),
        identity=_identity(source, entry.get("revision")),
        aliases=tuple(entry.get("aliases", ())),
        training_type=training_type,
        learning_rates=rates,
        context_length=int(entry["context_length"]),
        queue=_queue(entry.get("queue", "")),
        memory=dict(entry.get("memory", {})),
        description=entry.get("description", ""),
    )
