"""The tuned model that a run goes on from: looked at before it is loaded, and named in the manifest."""

from pathlib import Path
from typing import Any

from workers.trainer import publishing
from workers.trainer.failures import Failure
from workers.trainer.spec import Spec


def weights(directory: Path, spec: Spec) -> Path | None:
    """Where the weights lie that the run begins with; None where those are its base's."""
    return None if spec.start is None else directory / spec.start.path


def look(directory: Path, spec: Spec, model_hash: str | None) -> dict[str, Any]:
    """What a run's environment keeps of its start: the SHA-256 of each file of weights, by name.

    `model_hash` is of the base as it is here. Raises Failure `start_of_another_base` and `start_unusable`.
    """
    if spec.start is None:
        return {}
    if None not in (spec.start.base_hash, model_hash) and spec.start.base_hash != model_hash:
        raise Failure(
            "start_of_another_base",
            f"{spec.start.name} was tuned from other weights than {spec.base.name} has now: it can be tuned further "
            "once the operator has put those back.",
            param="model",
        )
    files = publishing.describe(directory / spec.start.path)
    hashes = {name: file["sha256"] for name, file in files.items() if name.endswith(".safetensors")}
    if not hashes:
        raise unusable(spec, "there are none.")
    return {"start_hashes": hashes}


def missed(spec: Spec, environment: dict[str, Any]) -> bool:
    """Whether a run of this environment began from its base all the same: an earlier version knew no starts."""
    return spec.start is not None and "start_hashes" not in environment


def kept(environment: dict[str, Any]) -> dict[str, Any]:
    """What an environment keeps of the start, for a run that goes on from a checkpoint and loads it no more."""
    return {name: value for name, value in environment.items() if name == "start_hashes"}


def unusable(spec: Spec, why: object) -> Failure:
    assert spec.start is not None
    message = f"The weights of {spec.start.name}, from which this job was to go on, cannot be loaded: {why}"
    return Failure("start_unusable", message, param="model")


def lineage(spec: Spec, environment: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run went on from, and what that did, the nearest first; empty for a run from its base."""
    if spec.start is None:
        return []
    nearest = {"model": spec.start.name, "job_id": spec.start.job_id, "sha256": environment["start_hashes"]}
    return [nearest, *spec.start.parents]
