"""Early stopping: for how many evaluations the full validation loss has not fallen, kept in the history."""

from workers.trainer.checkpoints import History
from workers.trainer.spec import Hyperparameters


def evaluated(history: History, settings: Hyperparameters, *, step: int) -> None:
    """Take the evaluation of this step into account, whose metrics are the last ones; one without a loss counts not."""
    loss = history.last.get("full_valid_loss")
    if loss is None or not settings.early_stopping_patience:
        return
    if history.fell is None or loss < history.fell["full_valid_loss"] - settings.early_stopping_delta:
        history.fell, history.waited = {"step": step, "full_valid_loss": loss}, 0
    else:
        history.waited += 1


def is_over(history: History, settings: Hyperparameters) -> bool:
    """Whether the loss has been waited for as long as was asked."""
    return 0 < settings.early_stopping_patience <= history.waited
