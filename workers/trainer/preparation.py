"""Everything before the first step: model and rows in memory, the newest checkpoint restored, choices frozen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workers.trainer import (
    batches,
    checkpoints,
    environment,
    methods,
    packing,
    patience,
    preflight,
    publishing,
    reference,
    rows,
    starts,
    templates,
    witness,
)
from workers.trainer import model as models
from workers.trainer import spec as specs
from workers.trainer.batches import Rows
from workers.trainer.checkpoints import Checkpoint, History
from workers.trainer.engine import Engine
from workers.trainer.engine import optimizer as new_optimizer
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline
from workers.trainer.metrics import Meter
from workers.trainer.pace import Pace, plan
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
    engine: Engine
    history: History
    step: int
    published: int  # step of the newest checkpoint, 0 for none
    meter: Meter
    pace: Pace

    @property
    def per_epoch(self) -> int:
        return steps_per_epoch(len(self.train), self.spec.hyperparameters.batch_size)

    @property
    def total_steps(self) -> int:
        return self.per_epoch * self.spec.hyperparameters.epochs

    @property
    def is_over(self) -> bool:
        return self.step >= self.total_steps or patience.is_over(self.history, self.spec.hyperparameters)

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @property
    def reference(self) -> dict[str, Tensor]:
        """What the checkpoints keep of the reference, by file; empty where the method uses none."""
        files = {"train": self.train, "valid": self.valid}
        found = {name: rows.reference for name, rows in files.items() if rows is not None}
        return {name: torch.from_numpy(values) for name, values in found.items() if values is not None}


class Stopped(Exception):
    """The run was asked to stop and has saved what it had."""


def prepare(directory: Path, lifeline: Lifeline, emit: Emit) -> Run:
    """Load rows and model and go back to the newest checkpoint. Emits `started` and warnings.

    Raises Failure, and Stopped when asked to stop.
    """
    spec = specs.load(directory)
    witness.note("start", spec, 0)
    for place in (directory, directory / "checkpoints"):
        publishing.sweep(place)
    resumed = checkpoints.newest(directory / "checkpoints", with_best=spec.hyperparameters.keep_best)
    if resumed and starts.missed(spec, checkpoints.history(resumed).environment):
        resumed = None
    history = checkpoints.history(resumed) if resumed else History()
    step = resumed.step if resumed else 0
    checkpoints.drop_beyond(directory / "checkpoints", step)
    template = templates.load(spec.base, spec.own_template, now=spec.created_at)
    train, valid = read_rows(directory, spec, template, _stopping(lifeline, step), emit)
    frozen = {**history.environment, **spec.environment}
    parameters = models.count_parameters(spec.base)
    chosen = environment.decide(frozen, parameters=parameters, model_hash=environment.hash_model(spec.base.source))
    chosen |= starts.kept(frozen) if resumed else starts.look(directory, spec, chosen["model_hash"])
    if resumed is None:
        preflight.require_weights(spec.base, spec.hyperparameters, parameters, chosen)
    engine = _engine(directory, spec, chosen, train, resumed)
    if resumed:
        checkpoints.restore(resumed, optimizer=engine.optimizer, names=models.trainable(engine.model))
    history.environment = chosen
    if different := environment.differences(frozen, chosen):
        warn(emit, "This machine differs from the one the job began on; the result may differ in bits.", **different)
    per_epoch = steps_per_epoch(len(train), spec.hyperparameters.batch_size)
    pace = Pace(plan(spec, train, valid, per_epoch=per_epoch, model=engine.model), spec.pace)
    run = Run(directory, spec, template, train, valid, engine, history, step, published=step, meter=Meter(), pace=pace)
    emit({
        "type": "started", "step": step, "total_steps": run.total_steps, "resumed_from": step if resumed else None,
        "best_step": history.best["step"] if history.best else None, "environment": chosen,
        "trainable_parameters": sum(weight.numel() for weight in models.trainable(engine.model).values()),
    })  # fmt: skip
    if resumed is None:  # one that goes on has proved that it fits
        flight = preflight.Flight(engine, spec.hyperparameters, run.meter, _stopping(lifeline, step))
        preflight.prove(flight, train, valid, emit)
        pace.begin()
    if engine.method.uses_reference:
        _attach_reference(run, resumed, _stopping(lifeline, step))
    return run


def _attach_reference(run: Run, resumed: Checkpoint | None, check: Callable[[], None]) -> None:
    """Give the rows their reference: the checkpoint's, or that of the weights as they are before the first step."""

    def attached(rows: Rows, name: str) -> Rows:
        return reference.kept(resumed, rows, name) if resumed else reference.measured(run.engine, rows, check)

    run.train = attached(run.train, "train")
    if run.valid is not None:
        run.valid = attached(run.valid, "valid")


def _engine(directory: Path, spec: Spec, chosen: dict[str, Any], train: Rows, resumed: Checkpoint | None) -> Engine:
    """The model as it was at the checkpoint, or a fresh one, and a new optimizer; completes `chosen` with packing."""
    environment.apply(chosen, seed=spec.seed)
    settings = spec.hyperparameters
    model = _model(directory, spec, chosen, resumed)
    chosen["packing"] = packing.decide(model, train, chosen)
    optimizer = new_optimizer(models.trainable(model), weight_decay=settings.weight_decay)
    return Engine(model, optimizer, chosen, settings.max_grad_norm, methods.of(spec))


def _model(directory: Path, spec: Spec, chosen: dict[str, Any], resumed: Checkpoint | None) -> Any:
    """The model with the checkpoint's weights, or with those that the run begins with."""
    weights = resumed.weights if resumed else starts.weights(directory, spec)
    try:
        return models.load(spec.base, spec.hyperparameters, environment=chosen, weights=weights)
    except models.Misfit as error:
        raise checkpoints.unusable(resumed, error) if resumed else starts.unusable(spec, error) from error


def go_back(run: Run, checkpoint: Checkpoint) -> None:
    """Give the run's engine the model of a checkpoint, to be exported: what its optimizer knew is not loaded."""
    chosen = run.engine.environment
    del run.engine  # its memory is needed
    run.engine = _engine(run.directory, run.spec, chosen, run.train, checkpoint)


def read_rows(
    directory: Path, spec: Spec, template: Template, check: Callable[[], None], emit: Emit
) -> tuple[Rows, Rows | None]:
    """Training and validation rows as token ids; `check` is called between rows.

    Raises Failure `row_unsupported` or `no_rows`.
    """
    file = directory / "train.jsonl"
    held = rows.held_out(file, spec.hyperparameters.eval_carveout, seed=spec.seed)
    train = _read(file, spec, template, check, emit, wanted=lambda line: line not in held)
    if train is None:
        raise Failure("no_rows", "train.jsonl holds no rows to train on.", param="training_file")
    if held:
        return train, _read(file, spec, template, check, emit, wanted=held.__contains__, noun="held-out rows")
    return train, _read(directory / "valid.jsonl", spec, template, check, emit)


def _read(
    path: Path,
    spec: Spec,
    template: Template,
    check: Callable[[], None],
    emit: Emit,
    *,
    wanted: Callable[[int], bool] = lambda line: True,
    noun: str = "rows",
) -> Rows | None:
    if not path.exists():
        return None
    encoded = rows.encode_file(path, template, method=spec.method, max_length=spec.max_length, wanted=wanted)
    read = batches.gather(_checked(encoded, path.name, check), per_row=spec.per_row)
    if read.cut_lines:
        count = len(read.cut_lines)
        message = f"{count} {noun} of {path.name} are longer than {spec.max_length} tokens and were cut at the end."
        warn(emit, message, file=path.name, count=count, lines=list(read.cut_lines[:100]))
    return read if len(read) else None


def _checked(encoded: Iterator[Encoded], name: str, check: Callable[[], None]) -> Iterator[Encoded]:
    for row in encoded:
        check()
        yield rows.require_trainable(row, file=name)


def _stopping(lifeline: Lifeline, step: int) -> Callable[[], None]:
    def check() -> None:
        if lifeline.stop_asked:
            raise Stopped(step)

    return check
