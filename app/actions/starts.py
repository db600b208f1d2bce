"""Warm starts: what a job takes over from the tuned model, or the own weights, that it goes on from."""

from collections.abc import Mapping
from typing import Any

from app.actions.models import Tuned
from app.core.errors import Unfit
from app.core.hyperparameters import AUTO, SHAPE

PARENTS_NAMED = 10
"""Those before them stand in the manifests of these."""


def start(tuned: Tuned, project_id: str) -> dict[str, Any]:
    """What a spec of the project keeps of a tuned model, as it is now: where its bytes lie, and where it came from.

    Below `path` lies all that is stored of it, in `folder` its weights. `base_hash` is of the base that it was tuned
    from; `parents` are what it went on from itself, the nearest first: of a permitted one, that is its owner's alone.
    """
    return {
        "name": tuned.name,
        "job_id": tuned.made.job_id,
        "path": tuned.path,
        "folder": tuned.folder,
        "base_hash": tuned.base_hash,
        "parents": _parents(tuned) if tuned.project_id == project_id else [],
    }


def _parents(tuned: Tuned) -> list[dict[str, Any]]:
    before = tuned.start
    if before is None:
        return []
    nearest = {"model": before["name"], "job_id": before["job_id"], "sha256": tuned.start_hashes}
    return [nearest, *before["parents"]][:PARENTS_NAMED]


def continued(asked: Mapping[str, Any], tuned: Tuned) -> dict[str, Any]:
    """The hyperparameters asked for, with the shape that the tuned model has already.

    Raises Unfit for one that asks for another shape.
    """
    chosen = tuned.hyperparameters
    names = SHAPE if chosen["training_type"] == "lora" else ("training_type",)
    shape = {name: chosen[name] for name in names}
    for name in SHAPE:
        wanted = asked.get(name, AUTO)
        if wanted != AUTO and not _same(wanted, shape.get(name)):
            raise Unfit(_refusal(tuned.name, name, shape), param=name)
    return {**asked, **shape}


def _same(wanted: Any, found: Any) -> bool:
    return sorted(wanted) == sorted(found) if isinstance(wanted, list) and isinstance(found, list) else wanted == found


def _refusal(model: str, name: str, shape: Mapping[str, Any]) -> str:
    if name == "training_type" and shape[name] == "full":
        return f"{model} has all its weights tuned, and goes on so: LoRA on top of them is not supported. Leave it out."
    if name == "training_type":
        return f"{model} is a LoRA adapter, and goes on as one: leave it out, or tune the base model with all weights."
    if name not in shape:
        return f"{model} has all its weights tuned, and no adapter: leave it out."
    return f"the adapter {model} has {shape[name]} already: leave it out, or tune the base model anew."
