"""OpenAI's names for our hyperparameters, and the extra ones beside them; LIMITS in the core says what each may be."""

from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validates_schema

from app.core.hyperparameters import AUTO, LIMITS
from app.dialects.answers import Answer

JSON_TYPES = {int: "integer", float: "number", str: "string", list: "array", bool: "boolean"}


class Knob(fields.Field[Any]):
    """A hyperparameter: `auto`, or what its limit in the core accepts."""

    def __init__(self, name: str, description: str, **options: Any) -> None:
        limit = LIMITS[name]
        value: dict[str, Any] = {"type": JSON_TYPES[limit.kind], "description": limit.text}
        if limit.choices:
            value["enum"] = list(limit.choices)
        if limit.kind is list:
            value["items"] = {"type": "string"}
        described = {"anyOf": [{"type": "string", "enum": [AUTO]}, value, {"type": "null"}], "description": description}
        super().__init__(allow_none=True, metadata=described, **options)
        self.limit = limit

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> Any:
        if value == AUTO:
            return AUTO
        if not self.limit.accepts(value):
            raise ValidationError(f"must be 'auto' or {self.limit.text}.")
        return int(value) if self.limit.kind is int else value


class HyperparametersSchema(Answer):
    """What a run may be told; what is left out is `auto`."""

    class Meta:
        unknown = RAISE

    epochs = Knob("epochs", "Passes over the training file", data_key="n_epochs")
    batch_size = Knob("batch_size", "Rows per optimizer step")
    learning_rate_multiplier = Knob("learning_rate_multiplier", "Factor on the base model's own learning rate")
    learning_rate = Knob("learning_rate", "Absolute learning rate, in place of the multiplier")
    training_type = Knob("training_type", "LoRA adapters, or all weights")
    lora_rank = Knob("lora_rank", "Rank of the LoRA adapters")
    lora_alpha = Knob("lora_alpha", "LoRA scale, in units of the rank")
    lora_dropout = Knob("lora_dropout", "Share of the adapters' inputs that is dropped")
    lora_targets = Knob("lora_targets", "Modules that get an adapter", data_key="lora_target_modules")
    scheduler = Knob("scheduler", "How the learning rate falls", data_key="lr_scheduler")
    warmup_steps = Knob("warmup_steps", "Steps over which the learning rate rises")
    weight_decay = Knob("weight_decay", "AdamW's weight decay")
    max_grad_norm = Knob("max_grad_norm", "Gradients are scaled down to this norm")
    max_length = Knob("max_length", "Tokens of a row that are read; the rest is cut")
    eval_steps = Knob("eval_steps", "Steps between two evaluations")
    early_stopping_patience = Knob(
        "early_stopping_patience", "Evaluations in a row without a lower validation loss after which training ends"
    )
    early_stopping_delta = Knob("early_stopping_delta", "By how much that loss must fall to count as lower, nats")
    keep_best = Knob("keep_best", "Publish the checkpoint with the lowest validation loss, not the last one")
    eval_carveout = Knob("eval_carveout", "Share of the training rows that is held out for validation")

    @validates_schema
    def _one_learning_rate(self, asked: dict[str, Any], **_: Any) -> None:
        rates = [asked.get(name) for name in ("learning_rate", "learning_rate_multiplier")]
        if all(isinstance(rate, int | float) for rate in rates):
            raise ValidationError("goes without a learning_rate_multiplier: give one of the two.", "learning_rate")


class PreferenceHyperparametersSchema(HyperparametersSchema):
    """What a run on preferences may be told."""

    beta = Knob("beta", "How dearly it costs to leave the model that the run began with")


def _wire_names(schema: type[Schema]) -> list[str]:
    return [field.data_key or str(field.name) for field in schema().fields.values()]


WIRE_NAMES = _wire_names(PreferenceHyperparametersSchema)

for schema, trained in ((HyperparametersSchema, "supervised"), (PreferenceHyperparametersSchema, "preference")):
    schema.error_messages = {
        "unknown": f"is not a hyperparameter of {trained} training; these are: {', '.join(_wire_names(schema))}.",
        "type": "must be an object.",
    }

SHOWN_ALWAYS: dict[str, tuple[str, ...]] = {
    "supervised": ("epochs", "batch_size", "learning_rate_multiplier"),
    "dpo": ("epochs", "batch_size", "learning_rate_multiplier", "beta"),
}


def shown(chosen: Mapping[str, Any], method: str) -> dict[str, Any]:
    """What a schema dumps of a job's choice: OpenAI's own ones of the method are always in it."""
    return {**dict.fromkeys(SHOWN_ALWAYS[method], AUTO), **chosen}
