"""The routes of /v1/models, and the answer to those who want to chat with one."""

from typing import Any

from flask import Response
from marshmallow import EXCLUDE, Schema, fields, validate

from app.actions import models, serving, weights
from app.core.job import Checkpoint, Model
from app.dialects.answers import Answer
from app.dialects.base import Blueprint, caller
from app.dialects.openai.fields import Deleted, Kind
from app.dialects.openai.hyperparameters import PreferenceHyperparametersSchema

blueprint = Blueprint("models", __name__, url_prefix="/v1/models", description="Base models and tuned ones")
chat = Blueprint("chat", __name__, url_prefix="/v1/chat", description="Not served here: vLLM does that")

OWNER_OF_BASES = "tuneyard"


class ModelSchema(Answer):
    """A model: one of the catalogue, a tuned one, or a checkpoint of a run."""

    id = fields.String(required=True)
    object = Kind("model")
    created = fields.Integer(required=True, metadata={"description": "Unix time, s; 0 for a base model"})
    owned_by = fields.String(required=True)
    base_model = fields.String(metadata={"description": "The catalogue's name of what was tuned, or of an alias"})
    parent_model = fields.String(
        allow_none=True, metadata={"description": "The tuned model or checkpoint that its job went on from"}
    )
    description = fields.String()
    context_length = fields.Integer(metadata={"description": "tokens"})
    memory = fields.Dict(keys=fields.String(), values=fields.String(), metadata={"description": "Per training type"})
    fine_tuning_job_id = fields.String(metadata={"description": "Not of weights that the project brought itself"})
    weights = fields.String(metadata={"description": "The URL path from which the weights can be downloaded"})
    metrics = fields.Raw(metadata={"type": "object"})
    hyperparameters = fields.Nested(PreferenceHyperparametersSchema)
    manifest_file = fields.String(allow_none=True)


class ModelList(Answer):
    """All models of the project, in one page."""

    object = Kind("list")
    data = fields.List(fields.Nested(ModelSchema), required=True)


class ChatSchema(Schema):
    """A wish to chat; only the model's name is read."""

    class Meta:
        unknown = EXCLUDE

    model = fields.String(required=True, validate=validate.Length(1, 512))


@blueprint.get("")
@blueprint.response(200, ModelList)
def page() -> dict[str, Any]:
    """List the models that can be tuned, and the tuned ones that the project made or may use"""
    bases, tuned = models.listed(caller())
    return {"data": [*map(_base, bases), *map(_made, tuned)]}


@blueprint.get("/<path:model>/weights")
@blueprint.response(
    200,
    {"type": "string", "format": "binary"},
    content_type="application/x-tar",
    description="A tar archive of the model's directory",
)
def download(model: str) -> Response:
    """Download the weights of a tuned model, or of a checkpoint of a run"""
    archive = weights.archive(caller(), model)
    response = Response(archive.chunks(), mimetype="application/x-tar")
    response.headers.set("Content-Disposition", "attachment", filename=_file_name(model))
    response.content_length = archive.size
    return response


def _file_name(model: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in model) + ".tar"


@blueprint.get("/<path:model>")
@blueprint.response(200, ModelSchema)
def retrieve(model: str) -> dict[str, Any]:
    """Retrieve a model; its name may hold slashes, encoded or not"""
    found = models.retrieve(caller(), model)
    return _base(found) if isinstance(found, models.Base) else _tuned(found)


@blueprint.delete("/<path:model>")
@blueprint.response(200, Deleted)
def delete(model: str) -> dict[str, Any]:
    """Delete a tuned model; the key needs the scope `owner`"""
    return {"id": models.delete(caller(), model).name, "object": "model", "deleted": True}


@chat.post("/completions")
@chat.arguments(ChatSchema)
@chat.alt_response(404, description="Always: the message holds the vLLM command that would serve the model")
def complete(asked: dict[str, Any]) -> Response:
    """Refuse to chat, and say how the model would be served"""
    raise serving.refuse(caller(), asked["model"])


def _base(base: models.Base) -> dict[str, Any]:
    return {
        "id": base.name,
        "created": 0,
        "owned_by": OWNER_OF_BASES,
        "base_model": base.model.name,
        "description": base.model.description,
        "context_length": base.model.context_length,
        "memory": base.model.memory,
    }


def _made(made: Model | Checkpoint) -> dict[str, Any]:
    return {
        "id": made.name,
        "created": int(made.created_at.timestamp()),
        "owned_by": made.org_id if isinstance(made, Model) else caller().org_id,
        "weights": f"/v1/models/{made.name}/weights",
        **({} if made.job_id is None else {"fine_tuning_job_id": made.job_id}),
    }


def _tuned(tuned: models.Tuned) -> dict[str, Any]:
    is_own = tuned.project_id == caller().project_id
    return {
        **_made(tuned.made),
        "base_model": tuned.base_name,
        "parent_model": tuned.start["name"] if tuned.start and is_own else None,
        "metrics": tuned.metrics,
        "hyperparameters": tuned.hyperparameters,
        "manifest_file": tuned.manifest_file if is_own else None,
    }
