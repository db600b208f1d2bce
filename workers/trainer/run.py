"""A run, stage by stage: load, resume, step until all steps are taken, export, answer, done."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers.trainer import answers, batches, checkpoints, environment, evaluation, manifest, packing, publishing, rows
from workers.trainer import engine as engines
from workers.trainer import model as models
from workers.trainer import spec as specs
from workers.trainer import templates
from workers.trainer.batches import Rows
from workers.trainer.checkpoints import History
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline
from workers.trainer.metrics import Meter, checkpoint_metrics
from workers.trainer.report import Emit, warn
from workers.trainer.schedule import learning_rate, rows_of_step, steps_per_epoch
from workers.trainer.spec import Spec
from workers.trainer.templates import Template

DONE, ERROR, STOPPED = 0, 1, 3


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


def main(directory: Path, lifeline: Lifeline, emit: Emit) -> int:
    """Run the job in `directory` and return the exit code, DONE or STOPPED. Raises Failure and whatever torch raises."""
    try:
        run = prepare(directory, lifeline, emit)
        settle(run, lifeline, emit)
        while run.step < run.total_steps:
            advance(run, lifeline, emit)
        finish(run, lifeline, emit)
    except Stopped as stopped:
        emit({"type": "stopped", "step": stopped.args[0]})
        return STOPPED
    return DONE


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


def _watched(encoded: Any, name: str, lifeline: Lifeline) -> Any:
    for row in encoded:
        if lifeline.stop_asked:
            raise Stopped(0)
        yield rows.require_trainable(row, file=name)


def advance(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Take the next optimizer step, settle it, and publish a checkpoint where one is due. Raises Stopped."""
    if lifeline.stop_asked:
        stop(run, lifeline, emit)
    lifeline.check()
    settings = run.spec.hyperparameters
    step = run.step + 1
    chosen = rows_of_step(step, rows=len(run.train), batch_size=settings.batch_size, seed=run.spec.seed)
    packs = list(batches.packs(run.train, chosen, budget=run.engine.environment["pack_tokens"]))
    rate = learning_rate(step, total_steps=run.total_steps, settings=settings)
    run.meter.start()
    sums, norm = run.engine.update(packs, learning_rate=rate)
    if not engines.finite(sums.loss) or not engines.finite(norm):
        raise not_finite(run, step, chosen, sums)
    tokens = run.train.tokens_of(chosen)
    run.step = step
    run.history.tokens += tokens
    run.history.last = {
        "train_loss": sums.mean_loss, "train_mean_token_accuracy": sums.accuracy, "learning_rate": rate,
        "gradient_norm": norm, "tokens": tokens, **run.meter.stop(tokens, run.engine.environment["device"]),
    }  # fmt: skip
    if run.history.first_loss is None:
        run.history.first_loss = sums.mean_loss
    settle(run, lifeline, emit)
    if run.published < run.step and run.meter.since_publish() >= run.spec.checkpoint_seconds:
        publish(run, "resume", lifeline, emit)


def settle(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """What belongs to the step just taken: its evaluation, its metrics line, its epoch checkpoint.

    A run that was stopped in between does it after its resume. Raises Stopped.
    """
    if run.step == run.history.settled:
        return
    settings = run.spec.hyperparameters
    epoch_ends = run.step % run.per_epoch == 0
    if run.valid is not None and (epoch_ends or (settings.eval_steps and run.step % settings.eval_steps == 0)):
        try:
            run.history.last |= evaluation.evaluate(
                run.engine, run.valid, step=run.step, batch_size=settings.batch_size, stop=lambda: lifeline.stop_asked
            )
        except evaluation.Interrupted:
            stop(run, lifeline, emit)
    run.history.settled = run.step
    emit({"type": "metrics", "step": run.step, "total_steps": run.total_steps, **run.history.last})
    run.meter.progress(run.step, run.total_steps, run.per_epoch, run.history.last, emit)
    if epoch_ends:
        publish(run, "epoch", lifeline, emit)


def stop(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Publish where the run stands, unless it stands at a checkpoint, and raise Stopped."""
    if run.published < run.step:
        publish(run, "stop", lifeline, emit)
    raise Stopped(run.step)


def publish(run: Run, kind: str, lifeline: Lifeline, emit: Emit) -> None:
    lifeline.check()
    metrics = checkpoint_metrics(run.step, run.history.last)
    loss = metrics.get("full_valid_loss")
    best = kind == "epoch" and loss is not None and (run.history.best is None or loss < run.history.best["full_valid_loss"])
    if best:
        run.history.best = {"step": run.step, "full_valid_loss": loss}
    checkpoints.publish(
        run.checkpoints, step=run.step, kind=kind, metrics=metrics,
        save_weights=lambda place: save_weights(run, place),
        optimizer=run.engine.optimizer, names=models.trainable(run.engine.model), history=run.history,
    )  # fmt: skip
    run.published = run.step
    run.meter.published()
    emit({
        "type": "checkpoint", "step": run.step, "kind": kind, "path": f"checkpoints/step-{run.step}", "best": best,
        "metrics": metrics,
    })  # fmt: skip
    checkpoints.prune(run.checkpoints, best=run.history.best["step"] if run.history.best else None)


def save_weights(run: Run, place: Path) -> None:
    models.save(
        run.engine.model, run.template.tokenizer, place,
        base_name=run.spec.base.name, chat_template=run.template.source, packed=run.engine.environment["packing"],
    )  # fmt: skip


def not_finite(run: Run, step: int, chosen: Any, sums: engines.Sums) -> Failure:
    """The failure of a step whose loss or gradient is not a number, with the rows that cause it where one does alone."""
    guilty = []
    run.engine.model.eval()
    for row in chosen:
        for pack in batches.packs(run.train, [row], budget=1):
            if not engines.finite(run.engine.measure(pack).loss):
                guilty.append(row)
    lines = sorted(int(line) for line in run.train.lines[guilty or list(chosen)])
    what = "gradient" if engines.finite(sums.loss) else "loss"
    return Failure(
        "loss_not_finite",
        f"The {what} of step {step} is not a finite number; rows of train.jsonl in it: lines "
        f"{', '.join(map(str, lines[:50]))}. Lower the learning rate, or mend these rows.",
        param="learning_rate",
    )


def finish(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Export the model, answer validation prompts with base and tuned model, and say done. Raises Stopped."""
    if lifeline.stop_asked:
        stop(run, lifeline, emit)
    lifeline.check()
    with publishing.published(run.directory / "model") as draft:
        save_weights(run, draft)
    if run.valid is not None and run.spec.answers > 0:
        answers.write(run.directory, run.spec, run.template, run.engine, lifeline, emit)
    if lifeline.stop_asked:
        stop(run, lifeline, emit)
    emit({
        "type": "done", "step": run.step, "path": "model", "trained_tokens": run.history.tokens,
        "metrics": checkpoint_metrics(run.step, run.history.last),
        "manifest": manifest.describe(run.directory, run.spec, run.history),
    })  # fmt: skip


