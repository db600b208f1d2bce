"""What a create with `dry_run` answers, and what a file's report looks like: extensions of ours."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import fields, pre_dump

from app.actions.dry_runs import DryRun
from app.actions.reports import RETRY_AFTER_SECONDS
from app.config import settings
from app.core import carveout
from app.core.estimates import Range
from app.core.job import DataReport
from app.dialects.answers import Answer
from app.dialects.openai.fields import Kind, Seconds
from app.dialects.openai.hyperparameters import HyperparametersSchema, shown
from app.dialects.openai.job_object import JobErrorSchema
from app.dialects.openai.new_job import MethodSchema

REPORT = {
    "type": ["object", "null"],
    "description": "Per file: rows, tokens, trained_tokens, cut_rows, findings and warnings by line; null while a "
    "worker still looks at the files: then ask again after `retry_after` seconds",
}


class FileReportSchema(Answer):
    """What a worker found in a training file."""

    object = Kind("file.report")
    file = fields.String(required=True)
    model = fields.String(required=True, allow_none=True)
    report = fields.Raw(required=True, allow_none=True, metadata=REPORT)
    error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    retry_after = fields.Integer(required=True, allow_none=True, metadata={"description": "s"})

    @pre_dump
    def _from_core(self, report: DataReport, **_: Any) -> dict[str, Any]:
        return {"file": report.spec["training_file"], "model": report.spec["base"], **_report(report)}


def _report(report: DataReport) -> dict[str, Any]:
    """The members that every answer with a report has."""
    content = report.content
    return {
        "report": None if content is None else {"files": content["files"]},
        "error": None if content is None else content["error"],
        "retry_after": RETRY_AFTER_SECONDS if content is None else None,
    }


class RangeSchema(Answer):
    """What is expected, and between what it may lie."""

    expected = fields.Float(required=True)
    low = fields.Float(required=True)
    high = fields.Float(required=True)
    basis = fields.String(required=True, metadata={"description": "What the estimate rests on"})


class StartSchema(Answer):
    """When training would start."""

    expected = Seconds(required=True)
    earliest = Seconds(required=True)
    latest = Seconds(required=True)
    basis = fields.String(required=True)


class TrainerSchema(Answer):
    """A worker that could train the job now."""

    device = fields.String(required=True)
    memory_bytes = fields.Integer(required=True, metadata={"description": "For each job it trains at once"})
    fits = fields.Boolean(required=True, allow_none=True)


class MemorySchema(Answer):
    """What the job would need, beside what there is."""

    needed_bytes = fields.Integer(required=True, allow_none=True)
    basis = fields.String(required=True, allow_none=True)
    trainers = fields.List(fields.Nested(TrainerSchema), required=True)


class CostSchema(RangeSchema):
    """What the job would cost."""

    currency = fields.String(required=True)


class DryRunSchema(Answer):
    """What a job would be that was not created."""

    object = Kind("fine_tuning.job.dry_run")
    model = fields.String(required=True)
    base_model = fields.String(required=True)
    parent_model = fields.String(required=True, allow_none=True)
    training_file = fields.String(required=True)
    validation_file = fields.String(required=True, allow_none=True)
    user_provided_suffix = fields.String(required=True, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), values=fields.String(), allow_none=True)
    ignored_keys = fields.List(fields.String(), required=True, metadata={"description": "Keys that nothing reads"})
    queue = fields.String(required=True)
    hyperparameters = fields.Nested(HyperparametersSchema, required=True)
    method = fields.Nested(MethodSchema, required=True)
    report = fields.Raw(required=True, allow_none=True, metadata=REPORT)
    error = fields.Nested(JobErrorSchema, required=True, allow_none=True, metadata={"description": "It would fail so"})
    retry_after = fields.Integer(required=True, allow_none=True, metadata={"description": "s"})
    rows = fields.Integer(required=True, allow_none=True)
    tokens = fields.Integer(required=True, allow_none=True, metadata={"description": "Of the training file"})
    trained_tokens = fields.Integer(required=True, allow_none=True, metadata={"description": "Targets among them"})
    cut_rows = fields.Integer(required=True, allow_none=True)
    billable_tokens = fields.Integer(required=True, allow_none=True, metadata={"description": "Of all epochs"})
    total_steps = fields.Integer(required=True, allow_none=True)
    memory = fields.Nested(MemorySchema, required=True)
    start = fields.Nested(StartSchema, required=True, allow_none=True)
    duration_seconds = fields.Nested(RangeSchema, required=True, allow_none=True)
    cost = fields.Nested(CostSchema, required=True, allow_none=True)

    @pre_dump
    def _from_core(self, run: DryRun, **_: Any) -> dict[str, Any]:
        chosen = run.hyperparameters
        method = run.spec["method"]
        hyperparameters = shown(chosen.as_dict() if chosen else run.spec["hyperparameters"], method)
        training = _training(run.report)
        trained = carveout.trained_part(training)
        return {
            **run.spec,
            "base_model": run.spec["base"],
            "parent_model": run.spec.get("start", {}).get("name"),
            "user_provided_suffix": run.spec["suffix"],
            "metadata": run.new.metadata,
            "ignored_keys": run.new.ignored_keys,
            "queue": run.queue,
            "hyperparameters": hyperparameters,
            "method": {"type": method, method: {"hyperparameters": hyperparameters}},
            **_report(run.report),
            **{name: trained.get(name) for name in ("rows", "tokens", "trained_tokens", "cut_rows")},
            "billable_tokens": run.tokens,
            "total_steps": chosen.total_steps(training["rows"]) if chosen else None,
            "memory": _memory(run),
            "start": _start(run.wait),
            "duration_seconds": run.duration,
            "cost": None if run.cost is None else {**vars(run.cost), "currency": settings().currency},
        }


def _training(report: DataReport) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(iter((report.content or {}).get("files", ())), {})
    return found


def _memory(run: DryRun) -> dict[str, Any]:
    needed, basis = run.memory or (None, None)
    return {"needed_bytes": needed, "basis": basis, "trainers": run.trainers}


def _start(wait: Range | None) -> dict[str, Any] | None:
    if wait is None:
        return None
    now = datetime.now(UTC)
    at = {"expected": wait.expected, "earliest": wait.low, "latest": wait.high}
    return {**{name: now + timedelta(seconds=seconds) for name, seconds in at.items()}, "basis": wait.basis}
