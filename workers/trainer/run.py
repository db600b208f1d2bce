"""A run, stage by stage: prepare, step until all steps are taken, export, look back, answer, done."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workers.trainer import (
    answers,
    batches,
    best,
    checkpoints,
    evaluation,
    hardest,
    manifest,
    patience,
    publishing,
    witness,
)
from workers.trainer import engine as engines
from workers.trainer import model as models
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline
from workers.trainer.metrics import checkpoint_metrics
from workers.trainer.preparation import Run, Stopped, prepare
from workers.trainer.report import DONE, STOPPED, Emit
from workers.trainer.schedule import learning_rate, rows_of_step


def main(directory: Path, lifeline: Lifeline, emit: Emit) -> int:
    """Run the job in `directory` and return DONE or STOPPED. Raises Failure, and whatever torch raises."""
    try:
        run = prepare(directory, lifeline, emit)
        settle(run, lifeline, emit)
        while not run.is_over:
            advance(run, lifeline, emit)
        finish(run, lifeline, emit)
    except Stopped as stopped:
        emit({"type": "stopped", "step": stopped.args[0]})
        return STOPPED
    return DONE


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
        what = "gradient" if engines.finite(sums.loss) else "loss"
        raise not_finite(run, f"{what} of step {step}", run.train, chosen, file="train.jsonl")
    tokens = run.train.tokens_of(chosen)
    run.pace.stepped(tokens)
    run.step = step
    witness.note("step", run.spec, step)
    run.history.tokens += tokens
    run.history.last = {
        **run.engine.metrics("train", sums), "learning_rate": rate,
        "gradient_norm": norm, "tokens": tokens, **run.meter.stop(tokens, run.engine.environment["device"]),
    }  # fmt: skip
    if run.history.first_loss is None:
        run.history.first_loss = sums.mean_loss
    settle(run, lifeline, emit)
    if run.published < run.step and run.pace.since_publish() >= run.spec.checkpoint_seconds:
        publish(run, "resume", lifeline, emit)


def settle(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """What belongs to the step just taken: its evaluation, its metrics line, its checkpoint if one is due.

    A run that was stopped in between does it after its resume. Raises Stopped.
    """
    if run.step == run.history.settled:
        return
    settings = run.spec.hyperparameters
    epoch_ends = run.step % run.per_epoch == 0
    if run.valid is not None and (epoch_ends or (settings.eval_steps and run.step % settings.eval_steps == 0)):
        try:
            with run.pace.evaluating():
                measured = evaluation.evaluate(
                    run.engine,
                    run.valid,
                    step=run.step,
                    batch_size=settings.batch_size,
                    stop=lambda: lifeline.stop_asked,
                )
        except evaluation.Interrupted:
            stop(run, lifeline, emit)
        if not all(map(engines.finite, measured.values())):
            what, every = f"validation loss of step {run.step}", range(len(run.valid))
            raise not_finite(run, what, run.valid, every, file=run.spec.valid_file)
        run.history.last |= measured
        patience.evaluated(run.history, settings, step=run.step)
    run.history.settled = run.step
    emit({"type": "metrics", "step": run.step, "total_steps": run.total_steps, **run.history.last})
    tell(run, emit)
    if epoch_ends:
        publish(run, "epoch", lifeline, emit)
    elif is_best(run, "resume"):
        publish(run, "resume", lifeline, emit)
    elif run.is_over:
        publish(run, "stop", lifeline, emit)


def tell(run: Run, emit: Emit) -> None:
    """Emit a progress line, at most one a second, and one for the last step."""
    if run.meter.progress_is_due() or run.step == run.total_steps:
        emit({"type": "progress", "total_steps": run.total_steps, **progress(run)})


def progress(run: Run) -> dict[str, Any]:
    """How far the run is and how fast it goes."""
    left = run.pace.seconds_left(step=run.step, tokens=run.history.tokens)
    return {
        "step": run.step, "epoch": round(run.step / run.per_epoch, 4), "train_loss": run.history.last["train_loss"],
        "tokens_per_second": run.history.last["tokens_per_second"], "seconds_left": round(left, 1),
        "pace": run.pace.known(),
    }  # fmt: skip


def stop(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Publish where the run stands, unless it stands at a checkpoint, and raise Stopped."""
    if run.published < run.step:
        publish(run, "stop", lifeline, emit)
    witness.note("end", run.spec, run.step)
    raise Stopped(run.step)


def publish(run: Run, kind: str, lifeline: Lifeline, emit: Emit) -> None:
    lifeline.check()
    metrics = checkpoint_metrics(run.step, run.history.last)
    leads = is_best(run, kind)
    if leads:
        run.history.best = {"step": run.step, "full_valid_loss": metrics["full_valid_loss"]}
    with run.pace.publishing(kind):
        checkpoints.publish(
            run.checkpoints, step=run.step, kind=kind, metrics=metrics,
            save_weights=lambda place: save_weights(run, place),
            optimizer=run.engine.optimizer, names=models.trainable(run.engine.model), history=run.history,
            reference=run.reference,
        )  # fmt: skip
    run.published = run.step
    emit({
        "type": "checkpoint", "step": run.step, "kind": kind, "path": f"checkpoints/step-{run.step}", "best": leads,
        "metrics": metrics,
    })  # fmt: skip
    checkpoints.prune(run.checkpoints)


def is_best(run: Run, kind: str) -> bool:
    """Whether a checkpoint made now would be the best: of all evaluations where that is exported, else of epochs."""
    loss, lowest = run.history.last.get("full_valid_loss"), run.history.best
    counts = kind == "epoch" or run.spec.hyperparameters.keep_best
    return counts and loss is not None and (lowest is None or loss < lowest["full_valid_loss"])


def save_weights(run: Run, place: Path) -> None:
    models.save(run.engine.model, run.template.tokenizer, place, base_name=run.spec.base.name)


def not_finite(run: Run, what: str, rows: batches.Rows, chosen: Iterable[int], *, file: str) -> Failure:
    """The failure of what is not a number, naming those of the chosen rows that cause it alone, if any."""
    run.engine.model.eval()
    alone = ((row, pack) for row in chosen for pack in batches.packs(rows, [row], budget=1))
    guilty = [row for row, pack in alone if not engines.finite(run.engine.measure(pack).loss)]
    lines = sorted(int(line) for line in rows.lines[guilty or list(chosen)])
    return Failure(
        "loss_not_finite",
        f"The {what} is not a finite number; rows of {file} in it: lines "
        f"{', '.join(map(str, lines[:50]))}. Lower the learning rate, or mend these rows.",
        param="learning_rate",
    )


def finish(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Export the model, find its hardest rows, answer prompts with base and tuned model, say done. Raises Stopped."""
    if lifeline.stop_asked:
        stop(run, lifeline, emit)
    lifeline.check()
    if run.step < run.total_steps:
        end_early(run, emit)
    metrics = best.take(run, emit)
    with publishing.published(run.directory / "model") as draft:
        save_weights(run, draft)
        models.store_as_base(draft, run.spec.base)
    hardest.write(run, lifeline, emit)
    if run.spec.answers > 0:
        answers.write(run, lifeline, emit)
    witness.note("end", run.spec, run.step)
    emit({
        "type": "done", "step": run.step, "path": "model", "trained_tokens": run.history.tokens, "metrics": metrics,
        "manifest": {
            **manifest.describe(run.directory, run.spec, run.history),
            "steps": run.step, "planned_steps": run.total_steps, "model_step": metrics["step"],
        },
    })  # fmt: skip


def end_early(run: Run, emit: Emit) -> None:
    """Emit that the validation loss has been waited for long enough, and what is left to do now."""
    run.pace.end_early(step=run.step, tokens=run.history.tokens)
    emit({
        "type": "ended_early", "total_steps": run.step, "planned_steps": run.total_steps,
        "evaluations": run.history.waited, "delta": run.spec.hyperparameters.early_stopping_delta,
        "fell": run.history.fell, **progress(run),
    })  # fmt: skip
