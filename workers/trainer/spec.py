"""The job as spec.json gives it: every number resolved, nothing decided here."""

import json
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from workers.trainer.failures import Failure

METHODS = {"supervised": 1, "dpo": 2}  # documents that a row is: for dpo the preferred answer's, then the other's
TRAINING_TYPES = ("lora", "full")
SCHEDULERS = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class Base:
    name: str  # the served base name, as vLLM knows it
    source: str  # local directory or hub id
    revision: str | None = None
    context_length: int | None = None  # tokens


@dataclass(frozen=True)
class Hyperparameters:
    epochs: int
    batch_size: int  # rows per optimizer step
    learning_rate: float  # absolute peak
    training_type: str = "lora"  # or "full"
    lora_rank: int = 16
    lora_alpha: float = 32
    lora_dropout: float = 0.0  # 0..1
    lora_targets: tuple[str, ...] = ("all-linear",)
    scheduler: str = "cosine"  # or "linear", "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0  # 0 = no clipping
    max_length: int = 2048  # tokens; longer rows are cut at the end
    eval_steps: int = 0  # 0 = only at epoch ends
    early_stopping_patience: int = 0  # evaluations in a row without a lower loss that end the run, 0 = none do
    early_stopping_delta: float = 0.0  # nats by which the loss must fall to count as lower
    keep_best: bool = False  # export the best checkpoint instead of the last weights
    eval_carveout: float = 0.0  # share of train.jsonl that is validated on instead of trained on
    beta: float | None = None  # of dpo


@dataclass(frozen=True)
class Start:
    """The tuned model, or the own weights, that the run goes on from."""

    name: str
    job_id: str | None  # None where no job made it
    path: str  # of its weights, in the job directory
    base_hash: str | None = None  # the model_hash of the base it was tuned from; None where that is a hub id
    parents: tuple[dict[str, Any], ...] = ()  # what it went on from itself, the nearest first, as manifests have it


@dataclass(frozen=True)
class OwnTemplate:
    """A chat template that came with the job, in place of the model's; the limits are those of each row."""

    source: str  # Jinja text
    seconds: float  # of CPU
    memory_mb: int
    marker: Path  # a file that says which row is being rendered, empty between rows


@dataclass(frozen=True)
class Spec:
    job_id: str
    base: Base
    tuned_model: str
    method: str
    hyperparameters: Hyperparameters
    seed: int
    checkpoint_seconds: float
    answers: int  # validation rows answered by base and tuned model at the end
    environment: dict[str, Any]
    start: Start | None = None  # None: the base itself
    own_template: OwnTemplate | None = None  # None: the model's
    created_at: datetime | None = None  # of the job, the same for every attempt; None for a run by hand
    attempt: int = 0  # of the worker that claimed the job; 0 for a run by hand
    pace: dict[str, float] = field(default_factory=dict)  # measured by an earlier attempt, as its progress told

    @property
    def per_row(self) -> int:
        """Documents that a row is."""
        return METHODS[self.method]

    @property
    def valid_file(self) -> str:
        """Where the validation rows stand."""
        return "train.jsonl" if self.hyperparameters.eval_carveout else "valid.jsonl"

    @property
    def max_length(self) -> int:
        """Tokens of a row that are kept: the hyperparameter, or the model's context where that is shorter."""
        return min(self.hyperparameters.max_length, self.base.context_length or self.hyperparameters.max_length)


def load(directory: Path) -> Spec:
    """Raises Failure `spec_invalid` when spec.json is missing, is not JSON, or lacks a field."""
    try:
        raw = json.loads((directory / "spec.json").read_text("utf-8"))
        return _parse(raw, directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(
            "spec_invalid", f"spec.json of this job cannot be read: {type(error).__name__}: {error}"
        ) from error


def _parse(raw: Any, directory: Path) -> Spec:
    if not isinstance(raw, dict):
        raise TypeError("not a JSON object")
    method = raw.get("method", "supervised")
    if method not in METHODS:
        raise Failure("method_unsupported", f"This trainer knows the methods {', '.join(METHODS)}, not {method!r}.")
    hyperparameters = _hyperparameters(raw["hyperparameters"])
    if method == "dpo" and hyperparameters.beta is None:
        raise ValueError("method dpo needs the hyperparameter beta")
    return Spec(
        job_id=str(raw["job_id"]),
        base=Base(**_known(Base, raw["model"])),
        tuned_model=str(raw["tuned_model"]),
        method=method,
        hyperparameters=hyperparameters,
        seed=int(raw["seed"]),
        checkpoint_seconds=float(raw.get("checkpoint_seconds", 30)),
        answers=int(raw.get("answers", 20)),
        environment=dict(raw.get("environment") or {}),
        start=Start(**_known(Start, raw["start"])) if raw.get("start") else None,
        own_template=_own_template(raw["chat_template"], directory) if raw.get("chat_template") else None,
        created_at=datetime.fromisoformat(raw["created_at"]) if raw.get("created_at") else None,
        attempt=int(raw.get("attempt") or 0),
        pace={name: float(value) for name, value in (raw.get("pace") or {}).items()},
    )


def _own_template(raw: dict[str, Any], directory: Path) -> OwnTemplate:
    seconds, memory_mb = float(raw["seconds"]), int(raw["memory_mb"])
    return OwnTemplate(str(raw["source"]), seconds, memory_mb, directory / "rendering")


def _hyperparameters(raw: dict[str, Any]) -> Hyperparameters:
    known = _known(Hyperparameters, raw)
    if "lora_targets" in known:
        known["lora_targets"] = tuple(known["lora_targets"])
    if known.get("training_type", "lora") not in TRAINING_TYPES or known.get("scheduler", "cosine") not in SCHEDULERS:
        raise ValueError(f"training_type is one of {TRAINING_TYPES} and scheduler one of {SCHEDULERS}")
    return Hyperparameters(**known)


def _known(kind: type, raw: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}
