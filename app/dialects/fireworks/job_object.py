"""The objects of jobs: ours in the members that there are, and nothing said that is not known."""

from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from app.actions import named_jobs
from app.config import settings
from app.core.resources import JOB_FIELDS, NamedJob
from app.core.states import Status
from app.dialects.fireworks import base_models, job_states, paging, resources
from app.dialects.fireworks.resources import Int64, Resource, StatusMembers, Time

BILLION = 10**9
CODES = {
    "chat_template_invalid": 3,
    "chat_template_unsupported": 9,
    "file_not_found": 5,
    "lora_targets_unknown": 3,
    "model_not_available": 9,
    "model_not_found": 5,
    "out_of_memory": 8,
    "row_unsupported": 3,
    "start_of_another_base": 9,
    "start_unusable": 9,
    "storage_full": 8,
    "worker_lost": 14,
}
"""Of the errors of jobs, those that are neither `invalid_…` nor this server's; numbers as in `errors.NAMES`."""
INSIDE = {
    "name": "name",
    "displayName": "display_name",
    "createTime": "created_at",
    "updateTime": "updated_at",
    "createdBy": "created_by",
    "state": "state",
    "dataset": "dataset",
    "evaluationDataset": "evaluation_dataset",
    "outputModel": "output_model",
    "baseModel": "base_model",
    "warmStartFrom": "warm_start_from",
}
NESTED = ("outputModel", "baseModel", "warmStartFrom")
"""Fields that jobs on preferences have in their `trainingConfig`."""


def collection(key: str, *, nested: bool) -> paging.Collection:
    """A list of jobs and its fields, the nested ones by their paths as well."""
    paths = {f"trainingConfig.{name}": INSIDE[name] for name in NESTED} if nested else {}
    return paging.Collection(key=key, kinds=JOB_FIELDS, inside={**INSIDE, **paths}, words={"state": job_states.MEANT})


class JobProgressSchema(Resource):
    """How far a run is."""

    percent = fields.Integer()
    epoch = fields.Integer(metadata={"description": "From 0"})


class EstimatedCostSchema(Resource):
    """An amount of money, `nanos` thousand-millionths more than `units`."""

    currency_code = fields.String()
    units = Int64(metadata={"type": "string"})
    nanos = fields.Integer()


class TrainedSchema(Resource):
    """How a model is trained: resolved numbers once the rows were validated, before that what was asked for."""

    base_model = fields.String()
    warm_start_from = fields.String()
    output_model = fields.String()
    epochs = fields.Integer()
    learning_rate = fields.Float()
    learning_rate_warmup_steps = fields.Integer()
    max_context_length = fields.Integer()
    lora_rank = fields.Integer()
    batch_size_samples = fields.Integer(metadata={"description": "Rows of an optimizer step"})
    jinja_template = fields.String()
    gradient_accumulation_steps = fields.Integer(metadata={"description": "1: it is in batchSizeSamples"})
    optimizer_weight_decay = fields.Float()


class WandbMembers(Resource):
    """Where a job's metrics are to be reported; the key is never shown."""

    enabled = fields.Boolean()
    project = fields.String()
    entity = fields.String()
    run_id = fields.String()


class JobSchema(Resource):
    """What all jobs have."""

    name = fields.String()
    display_name = fields.String()
    create_time = Time()
    update_time = Time()
    completed_time = Time()
    created_by = fields.String(metadata={"description": "The key that made it"})
    state = fields.String(metadata={"enum": [*job_states.SHOWN.values(), job_states.DELETING]})
    status = fields.Nested(StatusMembers)
    dataset = fields.String(required=True)
    wandb_config = fields.Nested(WandbMembers)
    job_progress = fields.Nested(JobProgressSchema)
    estimated_cost = fields.Nested(EstimatedCostSchema)


class SupervisedJobSchema(JobSchema, TrainedSchema):
    """A supervised job."""

    evaluation_dataset = fields.String()
    early_stop = fields.Boolean()
    eval_auto_carveout = fields.Boolean()


class BetaSchema(Resource):
    """What is particular to DPO."""

    beta = fields.Float()


class LossMembers(Resource):
    """The loss, which is DPO's."""

    method = fields.String()
    dpo = fields.Nested(BetaSchema)


class DpoJobSchema(JobSchema):
    """A job on preferences."""

    training_config = fields.Nested(TrainedSchema)
    loss_config = fields.Nested(LossMembers)


def supervised(job: NamedJob) -> dict[str, Any]:
    """What SupervisedJobSchema dumps."""
    chosen = job.hyperparameters
    members = {
        **_shown(job, "supervisedFineTuningJobs"),
        **_trained(job, chosen),
        "evaluation_dataset": _named("datasets", job.evaluation_dataset),
        "early_stop": bool(chosen.get("early_stopping_patience")),
        "eval_auto_carveout": bool(chosen.get("eval_carveout")),
    }
    return resources.known(members)


def preferences(job: NamedJob) -> dict[str, Any]:
    """What DpoJobSchema dumps."""
    chosen = job.hyperparameters
    beta = resources.known({"beta": chosen.get("beta")})
    members = {
        **_shown(job, "dpoJobs"),
        "training_config": resources.known(_trained(job, chosen)),
        "loss_config": {"method": "DPO", "dpo": beta},
    }
    return resources.known(members)


def _shown(job: NamedJob, collection_key: str) -> dict[str, Any]:
    return {
        "name": resources.name_of(collection_key, job.name),
        "display_name": job.display_name,
        "create_time": job.created_at,
        "update_time": job.updated_at,
        "completed_time": job.finished_at,
        "created_by": job.created_by or None,
        "state": job_states.SHOWN[job.state],
        "status": _status(job),
        "dataset": _named("datasets", job.dataset),
        "wandb_config": job.spec.get("wandb"),
        "job_progress": _progress(job),
        "estimated_cost": _cost(job),
    }


def _named(collection_key: str, name: str) -> str | None:
    """A full name; one that holds a colon is a name at other doors, and stays as it is."""
    if not name or ":" in name:
        return name or None
    return resources.name_of(collection_key, name)


def _status(job: NamedJob) -> dict[str, str]:
    notes = job.spec.get("notes", [])
    code, why = 0, ""
    if job.state == Status.FAILED and job.error is not None:
        code, why = _code(str(job.error["code"])), str(job.error["message"])
    if job.state == Status.CANCELLED:
        code, why = 1, "The job was cancelled."
    return resources.status(code, " ".join(filter(None, [why, *notes])))


def _code(error: str) -> int:
    return CODES.get(error, 3 if error.startswith("invalid_") else 13)


def _progress(job: NamedJob) -> dict[str, int] | None:
    if job.state == Status.SUCCEEDED:
        return {"percent": 100}
    step, total = job.progress.get("step"), job.progress.get("total_steps") or job.result.get("total_steps")
    if step is None or not total:
        return None
    return resources.known({"percent": int(100 * step / total), "epoch": _epoch(job.progress.get("epoch"))})


def _epoch(epoch: float | None) -> int | None:
    return None if epoch is None else int(epoch)


def _cost(job: NamedJob) -> dict[str, Any] | None:
    cost = named_jobs.cost(job)
    if cost is None:
        return None
    units, nanos = divmod(round(cost.expected * BILLION), BILLION)
    return {"currency_code": settings().currency, "units": units, "nanos": nanos}


def _trained(job: NamedJob, chosen: Mapping[str, Any]) -> dict[str, Any]:
    is_adapter = chosen.get("training_type") != "full"
    return {
        "base_model": base_models.name_of(job.base_model),
        "warm_start_from": _named("models", job.warm_start_from),
        "output_model": resources.name_of("models", job.output_model),
        "epochs": chosen.get("epochs"),
        "learning_rate": chosen.get("learning_rate"),
        "learning_rate_warmup_steps": chosen.get("warmup_steps"),
        "max_context_length": chosen.get("max_length"),
        "lora_rank": chosen.get("lora_rank") if is_adapter else None,
        "batch_size_samples": chosen.get("batch_size"),
        "jinja_template": job.spec.get("chat_template"),
        "gradient_accumulation_steps": 1 if "batch_size" in chosen else None,
        "optimizer_weight_decay": chosen.get("weight_decay"),
    }
