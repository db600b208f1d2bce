"""What the owner of a job reads of its training: a trainer's lines as events, in a user's words."""

from collections.abc import Callable, Mapping
from typing import Any

from app.core.job import Job, NewEvent
from workers.backends.base import NOT_THE_JOBS_FAULT, Line

SHOWN = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "full_valid_loss": "full validation loss",
    "train_preference_accuracy": "preferred",
    "train_reward_margin": "reward margin",
}


def metrics_event(line: Line) -> NewEvent:
    """The event of one step, worded as OpenAI words it; a step is told once in the life of a job."""
    shown = ", ".join(f"{words}={line[name]:.2f}" for name, words in SHOWN.items() if line.get(name) is not None)
    values = {name: value for name, value in line.items() if name != "type" and value is not None}
    message = f"Step {line['step']}/{line['total_steps']}: {shown}"
    return NewEvent(message, type="metrics", data=values, once=f"step:{line['step']}")


def started_event(line: Line, job: Job) -> NewEvent | None:
    """Where a run goes on that was interrupted, and what that costs; None for one that begins.

    `job` is the row as it was claimed: its progress is what the attempt before had told.
    """
    resumed_from = line.get("resumed_from")
    if resumed_from is None and job.environment is None:
        return None
    step = resumed_from or 0
    repeated = max(0, job.progress.get("step", 0) - step)
    message = f"Resumed from the checkpoint at step {step}" if step else "Training starts again from the first step"
    if _host(job.progress.get("worker") or job.lease_owner) != _host(job.lease_owner):
        message += " on another worker"
    if repeated:
        message += f"; {repeated} {'step is' if repeated == 1 else 'steps are'} trained again"
        message += ", to the same bits" if line["environment"] == job.environment else ""
    return NewEvent(message, data={"attempt": job.attempt, "step": step, "repeated_steps": repeated})


def ended_early_event(line: Line) -> NewEvent:
    """Why a run ended before its last step; told once in the life of a job."""
    by = f" by more than {line['delta']:g}" if line["delta"] else ""
    message = (
        f"Training ended early at step {line['step']} of {line['planned_steps']}: the validation loss has not fallen"
        f"{by} for {line['evaluations']} evaluation{'' if line['evaluations'] == 1 else 's'}; "
        f"it was {_loss(line['fell'])}"
    )
    values = {name: line[name] for name in ("step", "planned_steps", "evaluations", "delta", "fell")}
    return NewEvent(message, data=values, once="ended_early")


def best_event(line: Line) -> NewEvent:
    """Which checkpoint becomes the model, where the best one was asked for."""
    values = {name: value for name, value in line.items() if name != "type" and value is not None}
    message = f"The model is the best checkpoint: its validation loss was {_loss(line)}"
    if line["last_step"] != line["step"] and "last_full_valid_loss" in values:
        message += f", and {values['last_full_valid_loss']:.4f} at the last step, {line['last_step']}"
    return NewEvent(message, data=values, once="best")


def _loss(measured: Line) -> str:
    return f"{measured['full_valid_loss']:.4f} at step {measured['step']}"


def preflight_event(line: Line) -> NewEvent:
    """That the longest rows fit, and how nearly; told once in the life of a job."""
    needed, available = line["needed_bytes"], line.get("available_bytes")
    there = f" of {available / 1e9:.2f}" if available is not None else ""
    message = f"Preflight passed: the longest rows take {needed / 1e9:.2f}{there} GB of memory"
    return NewEvent(message, data={"needed_bytes": needed, "available_bytes": available}, once="preflight")


def hardest_event(found: Mapping[str, Any], file_id: str) -> NewEvent:
    """The lines of the rows that the model knows least; `found` is by kind: training, held_out or validation."""
    message = "Rows with the highest loss: " + "; ".join(_lines(kind, each) for kind, each in found.items())
    return NewEvent(message, data={**found, "hardest_file": file_id}, once="hardest")


def warning_event(line: Line) -> NewEvent:
    """What a trainer warns of; the same warning is told once in the life of a job."""
    return NewEvent(line["message"], level="warn", data=line.get("data"), once=f"warning:{line['message'][:200]}")


def setback_event(line: Line) -> NewEvent | None:
    """What a trainer lacked that it may have at another try; None for other errors, which are told as the job's end."""
    return NewEvent(line["message"], level="warn") if NOT_THE_JOBS_FAULT.get(line["code"]) == "memory" else None


EVENTS: dict[str, Callable[[Line], NewEvent | None]] = {
    "metrics": metrics_event,
    "preflight": preflight_event,
    "ended_early": ended_early_event,
    "best": best_event,
    "warning": warning_event,
    "error": setback_event,
}
"""What makes a line of a trainer an event, by its type; `started` needs the job too."""


def _lines(kind: str, found: Mapping[str, Any]) -> str:
    lines, kind = ", ".join(map(str, found["lines"])) or "none", kind.replace("_", "-")
    some = (
        f" ({found['looked_at']:,} of {found['rows']:,} rows looked at)" if found["looked_at"] < found["rows"] else ""
    )
    return f"{kind} lines {lines}{some}"


def _host(owner: str | None) -> str:
    """The machine of a lease owner, `host:pid:uuid`."""
    return (owner or "").rsplit(":", 2)[0]
