"""The body that creates a job: wire names in, NewJob out."""

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from app.actions.plans import MAX_SEED
from app.core.errors import Invalid, Unfit
from app.core.hyperparameters import conflict
from app.core.job import NewJob
from app.core.names import SUFFIX
from app.dialects.answers import Answer
from app.dialects.metadata import Metadata
from app.dialects.openai.fields import one_of
from app.dialects.openai.hyperparameters import HyperparametersSchema, PreferenceHyperparametersSchema

METHODS = ("supervised", "dpo", "reinforcement")
LATER = ("reinforcement",)
MAX_PRIORITY = 100


def _suffix(text: str) -> None:
    if not SUFFIX.fullmatch(text):
        raise ValidationError(
            "must be 1 to 64 letters, digits, spaces, dots, hyphens or underscores, the first a letter or digit."
        )


class SupervisedSchema(Answer):
    """How a supervised run is tuned."""

    class Meta:
        unknown = EXCLUDE

    hyperparameters = fields.Nested(HyperparametersSchema, allow_none=True)


class DpoSchema(Answer):
    """How a model is tuned on preferences."""

    class Meta:
        unknown = EXCLUDE

    hyperparameters = fields.Nested(PreferenceHyperparametersSchema, allow_none=True)


class MethodSchema(Answer):
    """The method; of its members only the one that `type` names is read."""

    class Meta:
        unknown = EXCLUDE

    type = fields.String(required=True, validate=one_of(*METHODS))
    supervised = fields.Nested(SupervisedSchema, allow_none=True)
    dpo = fields.Nested(DpoSchema, allow_none=True)

    @pre_load
    def _named_one(self, method: Any, **_: Any) -> Any:
        if not isinstance(method, Mapping):
            return method
        return {key: value for key, value in method.items() if key not in METHODS or key == method.get("type")}

    @validates_schema
    def _not_later(self, method: dict[str, Any], **_: Any) -> None:
        if method["type"] in LATER:
            raise ValidationError(
                f"the method '{method['type']}' comes in a later version; this one trains 'supervised' and 'dpo'.",
                "type",
            )


class NewJobSchema(Schema):
    """A fine-tuning job to be made. Unknown members are ignored, and named in a warning event of the job."""

    class Meta:
        unknown = EXCLUDE

    model = fields.String(required=True, validate=validate.Length(1, 256))
    training_file = fields.String(required=True, validate=validate.Length(1, 256))
    validation_file = fields.String(allow_none=True, validate=validate.Length(1, 256))
    suffix = fields.String(allow_none=True, validate=_suffix, metadata={"pattern": f"^{SUFFIX.pattern}$"})
    seed = fields.Integer(strict=True, allow_none=True, validate=validate.Range(0, MAX_SEED))
    metadata = Metadata(allow_none=True)
    priority = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(-MAX_PRIORITY, MAX_PRIORITY),
        metadata={"description": "Among the organization's jobs: each point counts as an hour of waiting"},
    )
    dry_run = fields.Boolean(
        allow_none=True,
        truthy={True},
        falsy={False},
        metadata={"description": "Answer what the job would be, and create nothing"},
    )
    integrations = fields.List(
        fields.Dict(),
        allow_none=True,
        validate=validate.Length(0, 0, error="integrations come in a later version: leave them out."),
    )
    method = fields.Nested(MethodSchema, allow_none=True)
    hyperparameters = fields.Nested(
        HyperparametersSchema, allow_none=True, metadata={"deprecated": True, "description": "Use `method`"}
    )

    @validates_schema
    def _no_conflict(self, body: dict[str, Any], **_: Any) -> None:
        where, asked = _chosen(body)
        found = conflict(asked, validation_file=body.get("validation_file") is not None)
        if found is not None:
            name, why = found
            raise ValidationError(_placed([*where, name], why))

    @post_load(pass_original=True)
    def _to_core(self, body: dict[str, Any], original: Mapping[str, Any], **_: Any) -> NewJob:
        chosen = _chosen(body)[1]
        return NewJob(
            model=body["model"],
            training_file=body["training_file"],
            validation_file=body.get("validation_file"),
            suffix=body.get("suffix"),
            seed=body.get("seed"),
            method=_method(body)["type"],
            hyperparameters={name: value for name, value in chosen.items() if value is not None},
            metadata=body.get("metadata"),
            priority=body.get("priority") or 0,
            dry_run=bool(body.get("dry_run")),
            ignored_keys=tuple(_unknown_keys(original)),
        )


def unfit(error: Unfit, body: Mapping[str, Any]) -> Invalid:
    """The error in the words of the body that caused it."""
    assert error.param is not None
    name = HyperparametersSchema().fields[error.param].data_key or error.param
    param = ".".join([*_chosen(body)[0], name])
    return Invalid(f"Invalid value for '{param}': {error.message}", param=param)


def _method(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return body.get("method") or {"type": "supervised"}


def _chosen(body: Mapping[str, Any]) -> tuple[list[str], Mapping[str, Any]]:
    """The hyperparameters that count, and where in the body they stand: the method's go before the older ones."""
    method = _method(body)
    chosen = (method.get(method["type"]) or {}).get("hyperparameters")
    if chosen is not None:
        return ["method", method["type"], "hyperparameters"], chosen
    return ["hyperparameters"], body.get("hyperparameters") or {}


def _placed(path: list[str], message: str) -> dict[str, Any]:
    """The errors of a body that has this one alone."""
    first, *rest = path
    return {first: _placed(rest, message) if rest else [message]}


KNOWN_KEYS = frozenset(NewJobSchema().fields)


def _unknown_keys(body: Mapping[str, Any]) -> list[str]:
    """The members that nothing reads, with dotted names."""
    method = body.get("method") or {}
    named = method.get("type", "supervised")
    return [
        *(key for key in body if key not in KNOWN_KEYS),
        *(f"method.{key}" for key in method if key not in ("type", *METHODS)),
        *(f"method.{named}.{key}" for key in method.get(named) or {} if key != "hyperparameters"),
    ]
