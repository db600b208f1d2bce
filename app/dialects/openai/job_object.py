"""OpenAI's objects of a fine-tuning job: the job, its events, its checkpoints. Ours come as extra members."""

from datetime import timedelta
from typing import Any

from marshmallow import fields, pre_dump

from app.actions.jobs import QueuedJob
from app.core.job import Checkpoint, Event, Job
from app.core.states import Desired, Status
from app.dialects.answers import Answer
from app.dialects.base import caller
from app.dialects.openai.fields import Kind, Seconds
from app.dialects.openai.hyperparameters import PreferenceHyperparametersSchema, shown
from app.dialects.openai.new_job import MethodSchema
from app.dialects.openai.waiting import waiting

STATUSES = {status: str(status) for status in Status} | {Status.FINALIZING: str(Status.RUNNING)}
EVENT_PREFIX = "ftevent-"
EVENT_DIGITS = 24
LAST_EVENT = 2**63 - 1


class JobErrorSchema(Answer):
    """Why a job failed."""

    code = fields.String(required=True)
    message = fields.String(required=True)
    param = fields.String(required=True, allow_none=True, dump_default=None)


class WaitingSchema(Answer):
    """Why a queued job waits, and for about how long."""

    queue = fields.String(required=True)
    position = fields.Integer(required=True, metadata={"description": "1 is next"})
    reason = fields.String(required=True)
    estimated_start = Seconds(required=True, allow_none=True)


class ProgressSchema(Answer):
    """How far a run is; what is not known yet is left out."""

    step = fields.Integer()
    total_steps = fields.Integer()
    epoch = fields.Float(metadata={"description": "Epochs done, with a fraction"})
    train_loss = fields.Float()
    tokens_per_second = fields.Float()
    seconds_left = fields.Float(metadata={"description": "Evaluations, checkpoints, answers and publishing included"})
    memory_bytes = fields.Integer(metadata={"description": "The most that the trainer has held"})


class JobSchema(Answer):
    """A fine-tuning job. `hyperparameters` and `method` hold numbers once the files were validated."""

    id = fields.String(required=True)
    object = Kind("fine_tuning.job")
    created_at = Seconds(required=True)
    finished_at = Seconds(required=True, allow_none=True)
    estimated_finish = Seconds(allow_none=True)
    status = fields.String(required=True, metadata={"enum": sorted(set(STATUSES.values()))})
    state_detail = fields.String(
        allow_none=True,
        metadata={"description": "pausing, paused (strict clients), finalizing or stopping: what the status hides"},
    )
    model = fields.String(required=True, attribute="spec.model")
    base_model = fields.String(attribute="spec.base", metadata={"description": "The catalogue's name of the model"})
    parent_model = fields.String(
        allow_none=True,
        attribute="spec.start.name",
        dump_default=None,
        metadata={"description": "The tuned model or checkpoint that training goes on from"},
    )
    fine_tuned_model = fields.String(
        required=True, allow_none=True, attribute="result.fine_tuned_model", dump_default=None
    )
    organization_id = fields.String(required=True, attribute="org_id")
    training_file = fields.String(required=True, attribute="spec.training_file")
    validation_file = fields.String(required=True, allow_none=True, attribute="spec.validation_file")
    result_files = fields.List(fields.String(), required=True, attribute="result.result_files", dump_default=list)
    seed = fields.Integer(required=True, attribute="spec.seed")
    hyperparameters = fields.Nested(PreferenceHyperparametersSchema, required=True)
    method = fields.Nested(MethodSchema)
    trained_tokens = fields.Integer(
        required=True, allow_none=True, attribute="result.trained_tokens", dump_default=None
    )
    error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    integrations = fields.List(fields.Dict(), dump_default=list)
    metadata = fields.Dict(keys=fields.String(), values=fields.String(), allow_none=True)
    user_provided_suffix = fields.String(allow_none=True, attribute="spec.suffix")
    started_at = Seconds(allow_none=True)
    progress = fields.Nested(ProgressSchema, allow_none=True)
    attempts = fields.Integer(attribute="attempt", metadata={"description": "Times a worker took the job"})
    losses = fields.Integer(attribute="crashes", metadata={"description": "Workers lost since the last checkpoint"})
    active_seconds = fields.Float(metadata={"description": "Time in training so far, pauses and waits left out; s"})
    priority = fields.Integer()
    waiting = fields.Nested(WaitingSchema, allow_none=True, metadata={"description": "Of a queued job, on retrieve"})
    total_steps = fields.Integer(allow_none=True, attribute="result.total_steps", dump_default=None)
    model_step = fields.Integer(
        allow_none=True,
        attribute="result.model_step",
        dump_default=None,
        metadata={"description": "The step whose weights the model has"},
    )
    report_file = fields.String(allow_none=True, attribute="result.report_file", dump_default=None)
    answers_file = fields.String(allow_none=True, attribute="result.answers_file", dump_default=None)
    hardest_file = fields.String(
        allow_none=True,
        attribute="result.hardest_file",
        dump_default=None,
        metadata={"description": "The ten training and validation rows with the highest loss, by line"},
    )
    manifest_file = fields.String(allow_none=True, attribute="result.manifest_file", dump_default=None)
    answers = fields.Raw(
        attribute="result.answers",
        dump_default=None,
        metadata={"type": ["object", "null"], "description": "Exact matches: total, base_exact, tuned_exact"},
    )

    @pre_dump
    def _from_core(self, job: Job, **_: Any) -> dict[str, Any]:
        method = job.spec["method"]
        hyperparameters = shown(job.result.get("hyperparameters") or job.spec["hyperparameters"], method)
        status, detail = seen_status(job, strict=caller().strict_status)
        return {
            **vars(job),
            "status": status,
            "state_detail": detail,
            "estimated_finish": _estimated_finish(job),
            "hyperparameters": hyperparameters,
            "method": {"type": method, method: {"hyperparameters": hyperparameters}},
            "error": job.error if job.status is Status.FAILED else None,
            "result": job.result if job.status is Status.SUCCEEDED else {**job.result, **UNTIL_SUCCESS},
            "progress": job.progress or None,
            "waiting": waiting(job, job.place) if isinstance(job, QueuedJob) else None,
        }


UNTIL_SUCCESS: dict[str, Any] = {"fine_tuned_model": None, "trained_tokens": None, "result_files": []}


def seen_status(job: Job, *, strict: bool) -> tuple[str, str | None]:
    """The status on the wire and what it does not tell; a strict client never sees `paused`."""
    if job.status is Status.PAUSED and strict:
        return "queued", "paused"
    if job.status is Status.RUNNING and job.desired is Desired.PAUSE:
        return "running", "pausing"
    if job.status is Status.CANCELLED and job.finished_at is None:
        return "cancelled", "stopping"
    return STATUSES[job.status], "finalizing" if job.status is Status.FINALIZING else None


def _estimated_finish(job: Job) -> Any:
    seconds = job.progress.get("seconds_left")
    if job.status is not Status.RUNNING or job.desired is not Desired.RUN or not isinstance(seconds, int | float):
        return None
    return job.updated_at + timedelta(seconds=min(max(seconds, 0), 10**9))


class EventSchema(Answer):
    """A line of a job's log."""

    id = fields.String(required=True)
    object = Kind("fine_tuning.job.event")
    created_at = Seconds(required=True)
    level = fields.String(required=True, metadata={"enum": ["info", "warn", "error"]})
    type = fields.String(required=True, metadata={"enum": ["message", "metrics"]})
    message = fields.String(required=True)
    data = fields.Raw(required=True, allow_none=True, metadata={"type": ["object", "null"]})

    @pre_dump
    def _from_core(self, event: Event, **_: Any) -> dict[str, Any]:
        return {**vars(event), "id": f"{EVENT_PREFIX}{event.id:0{EVENT_DIGITS}x}"}


def event_number(wire_id: str) -> int | None:
    """The number behind an event's id, or None when no event can have this id."""
    digits = wire_id.removeprefix(EVENT_PREFIX)
    if len(digits) != EVENT_DIGITS or not wire_id.startswith(EVENT_PREFIX) or set(digits) - set("0123456789abcdef"):
        return None
    number = int(digits, 16)
    return number if number <= LAST_EVENT else None


class MetricsSchema(Answer):
    """What was measured at a checkpoint; what was not is left out."""

    step = fields.Integer()
    train_loss = fields.Float()
    train_mean_token_accuracy = fields.Float()
    valid_loss = fields.Float()
    valid_mean_token_accuracy = fields.Float()
    full_valid_loss = fields.Float()
    full_valid_mean_token_accuracy = fields.Float()
    train_preference_accuracy = fields.Float(metadata={"description": "Share of pairs whose preferred answer wins"})
    train_reward_margin = fields.Float(metadata={"description": "How far the preferred answers are ahead, nats"})
    valid_preference_accuracy = fields.Float()
    valid_reward_margin = fields.Float()
    full_valid_preference_accuracy = fields.Float()
    full_valid_reward_margin = fields.Float()


class CheckpointSchema(Answer):
    """A state of a run that can be used as a model."""

    id = fields.String(required=True)
    object = Kind("fine_tuning.job.checkpoint")
    created_at = Seconds(required=True)
    fine_tuned_model_checkpoint = fields.String(required=True, attribute="name")
    fine_tuning_job_id = fields.String(required=True, attribute="job_id")
    step_number = fields.Integer(required=True, attribute="step")
    metrics = fields.Nested(MetricsSchema, required=True)
    best = fields.Boolean(metadata={"description": "Whether its validation loss is the lowest so far"})

    @pre_dump
    def _from_core(self, checkpoint: Checkpoint, **_: Any) -> dict[str, Any]:
        measured = {"step": checkpoint.step, **checkpoint.metrics}
        return {**vars(checkpoint), "metrics": {name: value for name, value in measured.items() if value is not None}}
