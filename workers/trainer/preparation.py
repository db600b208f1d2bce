"""Everything before the first step: model and rows in memory, the newest checkpoint restored, choices frozen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.trainer import batches, checkpoints, environment, packing, publishing, rows, templates
from workers.trainer import engine as engines
from workers.trainer import model as models
from workers.trainer import spec as specs
from workers.trainer.batches import Rows
from workers.trainer.checkpoints import History
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline
from workers.trainer.metrics import Meter
from workers.trainer.report import Emit, warn
from workers.trainer.rows import Encoded
from workers.trainer.schedule import steps_per_epoch
from workers.trainer.spec import Spec
from workers.trainer.templates import Template


@dataclass
class Run:
    """Everything a run holds; `step` counts the optimizer steps taken."""

    directory: Path
    spec: Spec
    template: Template
    train: Rows
    valid: Rows | None
    engine: engines.Engine
    history: History
    step: int
    published: int  # step of the newest checkpoint, 0 for none
    meter: Meter

    @property
    def per_epoch(self) -> int:
        return steps_per_epoch(len(self.train), self.spec.hyperparameters.batch_size)

    @property
    def total_steps(self) -> int:
        return self.per_epoch * self.spec.hyperparameters.epochs

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"


class Stopped(Exception):
    """The run was asked to stop and has saved what it had."""


def prepare(directory: Path, lifeline: Lifeline, emit: Emit) -> Run:
    """Load model and rows and go back to the newest checkpoint. Emits `started` and warnings."""
    spec = specs.load(directory)
    for place in (directory, directory / "checkpoints"):
        publishing.sweep(place)
    resumed = checkpoints.newest(directory / "checkpoints")
    template = templates.load(spec.base)
    train, valid = read_rows(directory, spec, template, lifeline, emit)
    chosen = environment.decide(
        spec, parameters=models.count_parameters(spec.base), model_hash=environment.hash_model(spec.base.source)
    )
    environment.apply(chosen, seed=spec.seed)
    model = models.load(
        spec.base, spec.hyperparameters, environment=chosen, weights=resumed.weights if resumed else None
    )
    weights = models.trainable(model)
    optimizer = engines.optimizer(weights, weight_decay=spec.hyperparameters.weight_decay)
    history = checkpoints.restore(resumed, optimizer=optimizer, names=weights) if resumed else History()
    chosen["packing"] = packing.decide(model, train, chosen)
    frozen = spec.environment or history.environment
    if different := environment.differences(frozen, chosen):
        warn(emit, "This machine differs from the one the job began on; the result may differ in bits.", **different)
    history.environment = chosen
    run = Run(
        directory, spec, template, train, valid,
        engine=engines.Engine(model, optimizer, chosen, spec.hyperparameters.max_grad_norm),
        history=history, step=resumed.step if resumed else 0, published=resumed.step if resumed else 0, meter=Meter(),
    )  # fmt: skip
    emit({
        "type": "started", "step": run.step, "total_steps": run.total_steps,
        "resumed_from": resumed.step if resumed else None, "environment": chosen,
        "trainable_parameters": sum(weight.numel() for weight in weights.values()),
    })  # fmt: skip
    return run


def read_rows(
    directory: Path, spec: Spec, template: Template, lifeline: Lifeline, emit: Emit
) -> tuple[Rows, Rows | None]:
    """Both files as token ids. Raises Failure `row_unsupported` or `no_rows`; Stopped when asked to stop."""
    read: dict[str, Rows] = {}
    for name in ("train.jsonl", "valid.jsonl"):
        path = directory / name
        if not path.exists():
            continue
        encoded = rows.encode_file(path, template, max_length=spec.max_length)
        read[name] = batches.gather(_watched(encoded, name, lifeline))
        if cut := read[name].cut_lines:
            message = f"{len(cut)} rows of {name} are longer than {spec.max_length} tokens and were cut at the end"
            warn(emit, message, file=name, count=len(cut), lines=list(cut[:100]))
    if not len(read.get("train.jsonl", ())):
        raise Failure("no_rows", "train.jsonl holds no rows to train on.", param="training_file")
    valid = read.get("valid.jsonl")
    return read["train.jsonl"], valid if valid is not None and len(valid) else None


def _watched(encoded: Iterator[Encoded], name: str, lifeline: Lifeline) -> Iterator[Encoded]:
    for row in encoded:
        if lifeline.stop_asked:
            raise Stopped(0)
        yield rows.require_trainable(row, file=name)
