"""The bodies that create jobs: wire names in, NewJob out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.core.errors import Invalid
from app.core.hyperparameters import LIMITS, conflict
from app.core.job import NewJob
from app.dialects.fireworks import base_models, resources
from app.dialects.fireworks.datasets import MAX_DISPLAY_NAME
from app.dialects.fireworks.job_fields import MAX_NAME, Given, Knob, Name, Refused

CARVEOUT = 0.1
WANDB_LATER = "wandbConfig is kept, its apiKey sealed; nothing is sent to Weights & Biases yet."
LEAST_MULTIPLIER = 0.01
"""What is smaller in `learning_rate` must be a learning rate that was meant absolutely."""
DIRECT = {
    "epochs": "epochs",
    "learning_rate": "learning_rate",
    "multiplier": "learning_rate_multiplier",
    "learning_rate_warmup_steps": "warmup_steps",
    "max_context_length": "max_length",
    "lora_rank": "lora_rank",
    "optimizer_weight_decay": "weight_decay",
}
"""Members of a training configuration that are hyperparameters of ours."""


@dataclass(frozen=True)
class Wanted:
    """A job to be made: `start` is the tuned model to go on from, or ""; then `new.model` may be "" too."""

    new: NewJob
    start: str

    def named(self, name: str) -> NewJob:
        """The job under an id that its maker chose, or ""; that is the id of its model too, unless that has another."""
        return replace(self.new, name=name or None, model_name=self.new.model_name or name or None)


class TrainingConfigSchema(Given):
    """How a model is trained. A job has one of baseModel and warmStartFrom, or both when they are of one kind."""

    base_model = Name("Of the catalogue; may be left out where it has one model")
    warm_start_from = Name("A tuned model, or the job that made it")
    output_model = Name("The id of the model to come; the job's unless it is given")
    epochs = Knob("epochs", "Passes over the dataset")
    learning_rate = Knob("learning_rate", "Absolute learning rate")
    multiplier = Knob("learning_rate_multiplier", "A factor, as gateways send it", data_key="learning_rate")
    jinja_template = fields.String(
        load_default="", metadata={"description": "Chat template, in place of the model's; rendered by a worker alone"}
    )
    learning_rate_warmup_steps = Knob("warmup_steps", "Steps over which the learning rate rises")
    max_context_length = Knob("max_length", "Tokens at which rows are cut")
    lora_rank = Knob("lora_rank", "Rank of the LoRA adapters")
    optimizer_weight_decay = Knob("weight_decay", "Weight decay")
    batch_size_samples = Knob("batch_size", "Rows, times gradientAccumulationSteps those of an optimizer step")
    gradient_accumulation_steps = Knob("batch_size", "Factor on batchSizeSamples: the loss is one mean over the step")
    batch_size = Refused("rows are counted here, not packed tokens: use batchSizeSamples.")
    sampler_checkpoint_save_interval_steps = Refused("there is one checkpoint an epoch here: leave it out.")
    region = Refused("this server trains where it stands: leave it out.", idle=("REGION_UNSPECIFIED",))

    @validates_schema
    def _one_learning_rate(self, given: dict[str, Any], **_: Any) -> None:
        multiplier = given.get("multiplier")
        if multiplier is None:
            return
        if given.get("learning_rate") is not None:
            raise ValidationError("goes without learningRate: give one of the two.", "multiplier")
        if multiplier < LEAST_MULTIPLIER:
            raise ValidationError(
                f"is a factor on the model's own learning rate here, as gateways send it, and {multiplier} is hardly "
                "one: send a learning rate as learningRate.",
                "multiplier",
            )

    @validates_schema
    def _whole_batch(self, given: dict[str, Any], **_: Any) -> None:
        rows, times = given.get("batch_size_samples"), given.get("gradient_accumulation_steps") or 1
        if times > 1 and rows is None:
            raise ValidationError("goes with batchSizeSamples: give both.", "gradientAccumulationSteps")
        if rows is not None and not LIMITS["batch_size"].accepts(rows * times):
            text = LIMITS["batch_size"].text
            raise ValidationError(f"times gradientAccumulationSteps must be {text}.", "batchSizeSamples")


class WandbConfigSchema(Given):
    """Where a job's metrics are to be reported."""

    enabled = fields.Boolean(load_default=False)
    api_key = fields.String(load_default="", validate=validate.Length(max=MAX_NAME))
    project = Name("Of Weights & Biases")
    entity = Name("Of Weights & Biases")
    run_id = Name("Of Weights & Biases")


class NewJobSchema(Given):
    """What all jobs have."""

    dataset = Name("Rows to train on", required=True)
    display_name = fields.String(load_default="", validate=validate.Length(max=MAX_DISPLAY_NAME))
    wandb_config = fields.Nested(WandbConfigSchema, metadata={"description": "Kept, the key sealed, and not used yet"})
    renderer_hugging_face_repo_id = Refused("the base model's own chat template is used, or a jinjaTemplate.")
    reservation_target = Refused("nothing can be reserved here: leave it out.")


class NewSupervisedJobSchema(NewJobSchema, TrainingConfigSchema):
    """A supervised job to be made. What nothing here uses is named in the status of the job."""

    early_stop = fields.Boolean(load_default=False, metadata={"description": "End when an evaluation is no better"})
    evaluation_dataset = Name("Rows to validate on")
    eval_auto_carveout = fields.Boolean(
        load_default=False, metadata={"description": f"Hold {CARVEOUT:.0%} of the rows out, for evaluation"}
    )
    nodes = Refused("one machine trains a job here: leave it out.", idle=(1, "0", "1"))
    mtp_num_draft_tokens = Refused("no tokens are drafted here: leave it out.")


class DpoConfigSchema(Given):
    """What is particular to DPO."""

    beta = Knob("beta", "How dearly it costs to leave the model that the run began with")


class LossConfigSchema(Given):
    """The loss of a job on preferences, which is DPO's."""

    method = fields.String(
        validate=validate.OneOf(("DPO", "METHOD_UNSPECIFIED"), error="only DPO is built here: leave the method out.")
    )
    kl_beta = Refused("it belongs to other methods than DPO: give dpo.beta, or leave it out.")
    dpo = fields.Nested(DpoConfigSchema)


class NewDpoJobSchema(NewJobSchema):
    """A job on preferences to be made. What nothing here uses is named in the status of the job."""

    training_config = fields.Nested(TrainingConfigSchema)
    loss_config = fields.Nested(LossConfigSchema)


def supervised(given: Mapping[str, Any], body: Mapping[str, Any]) -> Wanted:
    """The job that a loaded body asks for. Raises Invalid, and Unknown for names of another account."""
    evaluated = given["evaluation_dataset"]
    notes = [resources.not_used(unused(NewSupervisedJobSchema, body))]
    asked = _hyperparameters(given, notes)
    if evaluated and given["eval_auto_carveout"]:
        notes.append("evalAutoCarveout gave way to the evaluationDataset: no rows are held out.")
    elif given["eval_auto_carveout"]:
        asked["eval_carveout"] = CARVEOUT
    if given["early_stop"]:
        asked |= {"early_stopping_patience": 1, "keep_best": True}
    if conflict(asked, validation_file=bool(evaluated)):
        needs = "needs rows to evaluate: give an evaluationDataset, or evalAutoCarveout."
        raise Invalid(f"Invalid value for 'earlyStop': {needs}", param="earlyStop")
    return _wanted(given, given, "supervised", asked, notes)


def preferences(given: Mapping[str, Any], body: Mapping[str, Any]) -> Wanted:
    """The job on preferences that a loaded body asks for. Raises as `supervised` does."""
    training = given.get("training_config") or TrainingConfigSchema().load({})
    beta = given.get("loss_config", {}).get("dpo", {}).get("beta")
    notes = [resources.not_used(unused(NewDpoJobSchema, body))]
    asked = _hyperparameters(training, notes)
    return _wanted(given, training, "dpo", {**asked, **resources.known({"beta": beta})}, notes)


def _hyperparameters(training: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What a training configuration says of our hyperparameters; what is to be said of it is added to the notes."""
    asked = {ours: training[wire] for wire, ours in DIRECT.items()}
    rows, times = training["batch_size_samples"], training["gradient_accumulation_steps"] or 1
    if rows is not None:
        asked["batch_size"] = rows * times
        if times > 1:
            product = f"{rows} times {times}, {rows * times} rows a step"
            notes.append(f"batchSizeSamples and gradientAccumulationSteps are one number here: {product}.")
    if training["multiplier"] is not None:
        notes.append("learning_rate was taken as a factor on the model's own learning rate, as gateways send it.")
    if asked["lora_rank"] is not None and not training["warm_start_from"]:
        asked["training_type"] = "lora"
    return resources.known(asked)


def _wanted(
    given: Mapping[str, Any], training: Mapping[str, Any], method: str, asked: dict[str, Any], notes: list[str]
) -> Wanted:
    start = resources.any_id_of("models", training["warm_start_from"], param="start")
    evaluated = resources.id_of("datasets", given.get("evaluation_dataset", ""), param="validation_file")
    wandb = dict(given.get("wandb_config") or {})
    key = wandb.pop("api_key", "")
    if wandb:
        notes.append(WANDB_LATER)
    new = NewJob(
        model="" if start and not training["base_model"] else base_models.named(training["base_model"]),
        training_file=resources.id_of("datasets", given["dataset"], param="training_file"),
        validation_file=evaluated or None,
        method=method,
        hyperparameters=asked,
        model_name=resources.id_of("models", training["output_model"], param="modelId") or None,
        display_name=given["display_name"],
        chat_template=training["jinja_template"] or None,
        wandb=wandb or None,
        secrets={"wandb_api_key": key} if key else {},
        notes=tuple(note for note in notes if note),
    )
    return Wanted(new, start)


@cache
def _read_by(schema: type[Schema]) -> dict[str, fields.Field[Any]]:
    """The fields of a schema by their names on the wire: to make one costs more than to read a body."""
    return {str(field.data_key): field for field in schema().fields.values()}


def unused(schema: type[Schema], body: Mapping[str, Any]) -> list[str]:
    """The members of a body that mean something and that no field of the schema reads, with dotted names."""
    read = _read_by(schema)
    found = resources.ignored(body, set(read))
    for name, field in read.items():
        if isinstance(field, fields.Nested) and isinstance(body.get(name), Mapping):
            found += [f"{name}.{inner}" for inner in unused(type(field.schema), body[name])]
    return found


def placed(name: str, method: str) -> str:
    """Where in a body of this method a hyperparameter of ours, or another part of a NewJob, stands."""
    wire = next((resources.camel(wire) for wire, ours in DIRECT.items() if ours == name), PLACES.get(name, name))
    nested = method == "dpo" and wire in _read_by(TrainingConfigSchema)
    return f"trainingConfig.{wire}" if nested else wire


PLACES = {
    "model": "baseModel",
    "start": "warmStartFrom",
    "modelId": "outputModel",
    "training_file": "dataset",
    "validation_file": "evaluationDataset",
    "training_type": "loraRank",
    "batch_size": "batchSizeSamples",
    "chat_template": "jinjaTemplate",
}
