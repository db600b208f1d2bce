"""Checkpoints: everything the next step depends on, published whole, verified by hash before it is trusted.

State is (step, trainable weights, optimizer state, torch's generators, history); order and rate follow from the step.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.core.retention import EPOCHS_KEPT, RESUME_POINTS_KEPT
from workers.trainer import publishing
from workers.trainer.failures import Failure

_REFERENCE = "reference.safetensors"


@dataclass
class History:
    """What a resumed run has to remember besides tensors."""

    tokens: int = 0  # tokens of all rows trained on so far, targets or not
    last: dict[str, Any] = field(default_factory=dict)  # metrics of the last step, as reported
    settled: int = 0  # last step whose evaluation and metrics are through
    best: dict[str, Any] | None = None  # {"step", "full_valid_loss"} of the best checkpoint
    fell: dict[str, Any] | None = None  # the same of the evaluation at which the loss last fell by more than the delta
    waited: int = 0  # evaluations since
    first_loss: float | None = None
    environment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int
    kind: str  # "resume", "epoch" or "stop"
    metrics: dict[str, Any]

    @property
    def weights(self) -> Path:
        return self.path / "weights"


def newest(directory: Path, *, with_best: bool = False) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are passed over.

    With `with_best`, so are those whose best checkpoint is not there: a run that goes on from one could not export it.
    """
    return next(
        (found for found in _all(directory) if _whole(found) and (not with_best or _has_best(directory, found))), None
    )


def at(directory: Path, step: int) -> Checkpoint | None:
    """The checkpoint of this step, if it is there and whole."""
    return next((found for found in _all(directory) if found.step == step and _whole(found)), None)


def drop_beyond(directory: Path, step: int) -> None:
    """Remove what lies beyond the step that a run goes on from: it cannot be used, and would count as a newer one."""
    for path in directory.glob("step-*"):
        number = path.name.removeprefix("step-")
        if number.isdecimal() and int(number) > step:
            shutil.rmtree(path, ignore_errors=True)


def _has_best(directory: Path, checkpoint: Checkpoint) -> bool:
    step = _best_step(checkpoint)
    return step is None or step == checkpoint.step or at(directory, step) is not None


def _best_step(checkpoint: Checkpoint) -> int | None:
    """The step of the best checkpoint at the time of this one."""
    best = history(checkpoint).best
    return best["step"] if best else None


def _all(directory: Path) -> list[Checkpoint]:
    """Readable checkpoints, newest first."""
    found = []
    for manifest in directory.glob("step-*/manifest.json"):
        try:
            content = json.loads(manifest.read_text("utf-8"))
            found.append(Checkpoint(manifest.parent, int(content["step"]), str(content["kind"]), content["metrics"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    named = [checkpoint for checkpoint in found if checkpoint.path.name == f"step-{checkpoint.step}"]
    return sorted(named, key=lambda checkpoint: -checkpoint.step)


def _whole(checkpoint: Checkpoint) -> bool:
    files = json.loads((checkpoint.path / "manifest.json").read_text("utf-8")).get("files") or {}
    return "state/history.json" in files and publishing.matches(checkpoint.path, files)


def publish(
    directory: Path,
    *,
    step: int,
    kind: str,
    metrics: dict[str, Any],
    save_weights: Callable[[Path], None],
    optimizer: torch.optim.Optimizer,
    names: dict[str, Tensor],
    history: History,
    reference: dict[str, Tensor],
) -> Checkpoint:
    """Write step-N and return it; `names` are the trainable weights by name, `reference` may be empty."""
    target = directory / f"step-{step}"
    with publishing.published(target) as draft:
        save_weights(draft / "weights")
        state = draft / "state"
        state.mkdir()
        save_file(_optimizer_tensors(optimizer, names), state / "optimizer.safetensors")
        save_file(_generators(), state / "rng.safetensors")
        if reference:
            save_file(reference, state / _REFERENCE)
        (state / "history.json").write_text(json.dumps(_known(history), sort_keys=True), "utf-8")
        manifest = {"step": step, "kind": kind, "metrics": metrics, "files": publishing.describe(draft)}
        (draft / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")
    return Checkpoint(target, step, kind, metrics)


def _known(history: History) -> dict[str, Any]:
    """The history without what is as it began: a trainer of an earlier version may not know it."""
    began = vars(History())
    return {name: value for name, value in asdict(history).items() if value != began[name]}


def history(checkpoint: Checkpoint) -> History:
    return History(**json.loads((checkpoint.path / "state" / "history.json").read_text("utf-8")))


def reference(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The reference's log-probabilities by file, float32 [documents]; empty where the job's method uses none."""
    path = checkpoint.path / "state" / _REFERENCE
    return load_file(path) if path.exists() else {}


def unusable(checkpoint: Checkpoint, why: object) -> Failure:
    message = f"The weights of the checkpoint {checkpoint.path.name} cannot be loaded: {why} Remove it to start over."
    return Failure("checkpoint_unusable", message)


def restore(checkpoint: Checkpoint, *, optimizer: torch.optim.Optimizer, names: dict[str, Tensor]) -> None:
    """Put optimizer state and generators back.

    Raises Failure `checkpoint_unusable` when the tensors are another model's.
    """
    state = checkpoint.path / "state"
    tensors = load_file(state / "optimizer.safetensors")
    try:
        for name, weight in names.items():
            if f"exp_avg.{name}" not in tensors:
                continue
            moments = {key: tensors[f"{key}.{name}"] for key in ("exp_avg", "exp_avg_sq")}
            placed = {key: value.to(weight.device).view_as(weight) for key, value in moments.items()}
            optimizer.state[weight] = {"step": tensors[f"step.{name}"].to(weight.device), **placed}
    except (KeyError, RuntimeError) as error:
        message = f"The checkpoint {checkpoint.path.name} is not this job's: {error}. Remove it to start over."
        raise Failure("checkpoint_unusable", message) from error
    generators = load_file(state / "rng.safetensors")
    torch.set_rng_state(generators["cpu"])
    if "cuda" in generators and torch.cuda.is_available():
        torch.cuda.set_rng_state(generators["cuda"])


def prune(directory: Path) -> None:
    """Keep the newest resume points, the newest epochs, and the best one that each of the newest two of all names."""
    known = _all(directory)
    resume_points = [found for found in known if found.kind != "epoch"]
    epochs = [found for found in known if found.kind == "epoch"]
    bests = {_best_step(found) for found in known[:RESUME_POINTS_KEPT]}
    for spare in resume_points[RESUME_POINTS_KEPT:] + epochs[EPOCHS_KEPT:]:
        if spare.step not in bests:
            shutil.rmtree(spare.path, ignore_errors=True)


def _optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{key}.{name}": value.contiguous()
        for name, weight in names.items()
        for key, value in optimizer.state.get(weight, {}).items()
    }


def _generators() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states
