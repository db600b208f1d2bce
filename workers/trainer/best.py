"""Which weights become the model: the last ones, or those of the best checkpoint."""

from typing import Any

from workers.trainer import checkpoints
from workers.trainer.failures import Failure
from workers.trainer.metrics import checkpoint_metrics
from workers.trainer.preparation import Run, go_back
from workers.trainer.report import Emit, warn


def take(run: Run, emit: Emit) -> dict[str, Any]:
    """Give the run's engine the weights to export, and return their metrics, `step` among them.

    Emits which checkpoint is the best one, where it was asked for. Raises Failure `checkpoint_unusable`.
    """
    last, best = checkpoint_metrics(run.step, run.history.last), run.history.best
    if not run.spec.hyperparameters.keep_best:
        return last
    if best is None:
        warn(emit, "No validation row has anything to learn, so no checkpoint is the best: the model is the last one.")
        return last
    emit({"type": "best", **best, "last_step": run.step, "last_full_valid_loss": last.get("full_valid_loss")})
    if best["step"] == run.step:
        return last
    found = checkpoints.at(run.checkpoints, best["step"])
    if found is None:
        raise Failure("checkpoint_unusable", f"The best checkpoint, of step {best['step']}, is damaged or gone.")
    go_back(run, found)
    return found.metrics
