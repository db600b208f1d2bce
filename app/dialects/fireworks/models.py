"""The routes of …/models: the tuned ones of the account."""

from typing import Any, NoReturn

from flask import g
from marshmallow import EXCLUDE, fields, validate

from app.actions import named_models
from app.core.errors import NotBuilt
from app.core.resources import MODEL_FIELDS, NamedModel
from app.dialects.base import caller
from app.dialects.fireworks import base_models, paging, resources, signed
from app.dialects.fireworks.resources import AccountBlueprint, Resource, StatusMembers, Time
from app.dialects.fireworks.uploading import NothingSchema, SignedUrlsSchema

blueprint = AccountBlueprint("models", "Tuned models under ids of your choice")

MODELS = paging.Collection(
    key="models",
    kinds=MODEL_FIELDS,
    inside={
        "name": "name",
        "displayName": "display_name",
        "description": "description",
        "createTime": "created_at",
        "updateTime": "updated_at",
        "fineTuningJob": "job_name",
    },
    tiebreak="model",
)
JOBS = {"supervised": "supervisedFineTuningJobs", "dpo": "dpoJobs"}
"""The collection of the jobs of a method."""
USED = {"displayName", "description"}
ALWAYS = "Always: models come from jobs, base models from the catalogue"


class PeftDetailsSchema(Resource):
    """What an adapter is made of."""

    base_model = fields.String(required=True)
    r = fields.Integer(required=True)
    target_modules = fields.List(fields.String(), required=True)


class NamedModelSchema(Resource):
    """A tuned model."""

    name = fields.String()
    display_name = fields.String()
    description = fields.String()
    create_time = Time()
    update_time = Time()
    state = fields.String()
    status = fields.Nested(StatusMembers)
    kind = fields.String(metadata={"description": "HF_PEFT_ADDON is an adapter, HF_BASE_MODEL whole weights"})
    peft_details = fields.Nested(PeftDetailsSchema)
    fine_tuning_job = fields.String()
    context_length = fields.Integer(metadata={"description": "tokens"})


class WarningsSchema(Resource):
    """What is to be said of a model's files."""

    warnings = fields.List(fields.String(), required=True)


class GivenModelSchema(Resource):
    """What may be said of a model; what nothing here uses is named in the answer's status."""

    class Meta:
        unknown = EXCLUDE

    display_name = fields.String(load_default="", validate=validate.Length(max=63))
    description = fields.String(load_default="", validate=validate.Length(max=999))


@blueprint.get("/models")
@blueprint.arguments(paging.PageQuery, location="query")
@blueprint.response(200, paging.list_of("models", NamedModelSchema))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List the models that the account has tuned"""
    return paging.answer(query, MODELS, lambda listing: named_models.page(caller(), listing), _shown)


@blueprint.get("/models/<model_id>")
@blueprint.arguments(paging.MaskQuery, location="query")
@blueprint.response(200, NamedModelSchema)
def retrieve(query: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Retrieve a tuned model's description"""
    return paging.masked(_shown(named_models.retrieve(caller(), model_id)), query["read_mask"])


@blueprint.patch("/models/<model_id>")
@blueprint.arguments(GivenModelSchema)
@blueprint.response(200, NamedModelSchema)
def change(given: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Change a model's display name or description; nothing else of it changes"""
    changed = named_models.change(
        caller(),
        model_id,
        display_name=given["display_name"] or None,
        description=given["description"] or None,
    )
    message = resources.not_used(resources.ignored(g.body, USED))
    return {**_shown(changed), "status": resources.status(message=message)}


@blueprint.delete("/models/<model_id>")
@blueprint.response(200, NothingSchema)
def delete(model_id: str) -> dict[str, Any]:
    """Delete a tuned model; the key needs the scope `owner`"""
    named_models.delete(caller(), model_id)
    return {}


@blueprint.get("/models/<model_id>:getDownloadEndpoint")
@blueprint.arguments(paging.MaskQuery, location="query")
@blueprint.response(200, SignedUrlsSchema)
def download(_: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Ask for the URLs of a tuned model's files"""
    job_id, sizes = named_models.files(caller(), model_id)
    urls = {name: signed.url("GET", f"models/{job_id}/{name}", size=size) for name, size in sizes.items()}
    return {"filename_to_signed_urls": urls}


@blueprint.post("/models")
@blueprint.alt_response(501, description=ALWAYS)
def create() -> NoReturn:
    """Not built: weights of your own cannot be uploaded"""
    raise _not_built()


@blueprint.post("/models/<model_id>:prepare")
@blueprint.alt_response(501, description=ALWAYS)
def prepare(model_id: str) -> NoReturn:
    """Not built: weights are not converted to other precisions"""
    raise NotBuilt("This server does not convert weights to other precisions.")


@blueprint.post("/models/<model_id>:getUploadEndpoint")
@blueprint.alt_response(501, description=ALWAYS)
def announce(model_id: str) -> NoReturn:
    """Not built: weights of your own cannot be uploaded"""
    raise _not_built()


@blueprint.get("/models/<model_id>:validateUpload")
@blueprint.response(200, WarningsSchema)
def check(model_id: str) -> dict[str, Any]:
    """Look at a model's files once more: those of a tuned model are whole, or it would not be there"""
    named_models.retrieve(caller(), model_id)
    return {"warnings": []}


def _not_built() -> NotBuilt:
    return NotBuilt("Weights of your own cannot be uploaded: models come from jobs, base models from the catalogue.")


def _shown(model: NamedModel) -> dict[str, Any]:
    chosen = model.hyperparameters
    is_adapter = chosen.get("training_type") == "lora"
    details = {
        "base_model": base_models.name_of(model.base),
        "r": chosen.get("lora_rank", 0),
        "target_modules": chosen.get("lora_target_modules") or [],
    }
    members = {
        "name": resources.name_of("models", model.name),
        "display_name": model.display_name,
        "description": model.description,
        "create_time": model.created_at,
        "update_time": model.updated_at,
        "state": "READY",
        "status": resources.status(),
        "kind": "HF_PEFT_ADDON" if is_adapter else "HF_BASE_MODEL",
        "peft_details": details if is_adapter else None,
        "fine_tuning_job": resources.name_of(JOBS[model.method], model.job_name),
        "context_length": named_models.context_length(model),
    }
    return resources.known(members)
