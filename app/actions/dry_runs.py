"""What a job would be: its data, its numbers, its needs. Nothing is created but a report on its files."""

from dataclasses import dataclass
from typing import Any

from app import queue
from app.actions import reports
from app.actions.plans import planned, queue_of
from app.config import settings
from app.core import carveout, estimates
from app.core.caller import Caller
from app.core.estimates import Range
from app.core.hyperparameters import AUTO, BaseModel, Hyperparameters, resolve
from app.core.job import DataReport, NewJob
from app.store import history
from app.store.db import transaction


@dataclass(frozen=True)
class Trainer:
    """A worker that could train the job: `memory_bytes` for each of the jobs it trains at once."""

    device: str
    memory_bytes: int
    fits: bool | None


@dataclass(frozen=True)
class DryRun:
    """A job that is not created. What the report decides is None until it is made; ranges are in seconds."""

    new: NewJob
    spec: dict[str, Any]
    queue: str
    report: DataReport
    hyperparameters: Hyperparameters | None
    tokens: int | None
    memory: tuple[int, str] | None
    trainers: list[Trainer]
    wait: Range | None
    duration: Range | None
    cost: Range | None


def make(caller: Caller, new: NewJob) -> DryRun:
    """Look at what a job would be.

    Raises Invalid as a create would, and OverLimit when the project waits for too many reports.
    """
    caller.must("write")
    with transaction() as conn:
        base, spec = planned(conn, caller, new)
        name = queue_of(base)
        asked = reports.question({**spec, "seed": new.seed or 0}, base)  # for the next dry run asks the same then
        report, is_due = reports.asked(conn, caller, asked)
        kind = _training_type(spec, base)
        runs = history.runs(conn, queue=name, base=base.name, training_type=kind, method=spec["method"])
        crowd = history.crowd(conn, caller.org_id, name)
    if is_due:
        queue.send_report(report.id)
    chosen, tokens = _counted(spec, base, report)
    needed = estimates.memory(runs, base.memory, kind)
    present = [facts for facts in queue.trainers() if name in facts["queues"]]
    duration = None if tokens is None else estimates.duration(runs, tokens)
    return DryRun(
        new=new,
        spec=spec,
        queue=name,
        report=report,
        hyperparameters=chosen,
        tokens=tokens,
        memory=needed,
        trainers=[_trainer(facts, needed) for facts in present],
        wait=estimates.wait(crowd, slots=sum(facts["slots"] for facts in present)),
        duration=duration,
        cost=_cost(duration, tokens),
    )


def _training_type(spec: dict[str, Any], base: BaseModel) -> str:
    asked = spec["hyperparameters"].get("training_type", AUTO)
    return base.training_type if asked == AUTO else str(asked)


def _counted(spec: dict[str, Any], base: BaseModel, report: DataReport) -> tuple[Hyperparameters | None, int | None]:
    """Resolved hyperparameters, and the tokens of all epochs; None each while there is no sound report."""
    if report.content is None or report.content["error"]:
        return None, None
    training = report.content["files"][0]
    chosen = resolve(spec["hyperparameters"], base, method=spec["method"], rows=training["rows"])
    return chosen, chosen.epochs * carveout.trained_part(training)["tokens"]


def _trainer(facts: dict[str, Any], needed: tuple[int, str] | None) -> Trainer:
    own = facts["memory_bytes"] // max(1, facts["slots"])
    return Trainer(facts["device"], own, None if needed is None else needed[0] <= own)


def _cost(duration: Range | None, tokens: int | None) -> Range | None:
    if tokens is None:
        return None
    prices = settings()
    hour, million = prices.price_per_trainer_hour, prices.price_per_million_tokens
    return estimates.cost(duration, tokens, per_hour=hour, per_million_tokens=million)
