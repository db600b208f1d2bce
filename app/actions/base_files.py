"""What lies on this machine of a base model: its configuration and the headers of its weights, where it was fetched.

A web process need not have them: a base that is a hub id lies with the workers. Nothing is fetched here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.config import hub_cache
from app.core.hyperparameters import BaseModel
from app.core.safetensors import Malformed, Tensor, tensors

MOST_JSON_BYTES = 4 << 20


def folder(base: BaseModel) -> Path | None:
    """Where the base lies: its directory, or the snapshot of its revision in the hub's cache; None if not here."""
    if Path(base.source).is_dir():
        return Path(base.source)
    cached = hub_cache() / f"models--{base.source.replace('/', '--')}"
    wanted = base.revision or "main"
    try:
        commit = (cached / "refs" / wanted).read_text().strip()
    except OSError:
        commit = wanted
    found = cached / "snapshots" / commit
    return found if found.is_dir() else None


def config(base: BaseModel) -> dict[str, Any] | None:
    """The base's configuration, or None where it cannot be read."""
    place = folder(base)
    return None if place is None else _object(place / "config.json")


def headers(base: BaseModel) -> Mapping[str, Tensor] | None:
    """The tensors of the base by name, or None where they cannot be read."""
    place = folder(base)
    found: dict[str, Tensor] = {}
    for path in sorted(place.glob("model*.safetensors")) if place else ():
        try:
            with path.open("rb") as opened:
                found |= tensors(opened, path.stat().st_size)
        except (OSError, Malformed):
            return None
    return found or None


def _object(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as opened:
            found = json.loads(opened.read(MOST_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
