"""The routes of …/models: what the account has tuned, or brought."""

from collections.abc import Sequence
from typing import Any

from flask import g
from marshmallow import fields, validate

from app.actions import named_models
from app.core.resources import MODEL_FIELDS, NamedModel
from app.dialects.base import caller
from app.dialects.fireworks import base_models, paging, resources, signed
from app.dialects.fireworks.job_fields import Given
from app.dialects.fireworks.resources import AccountBlueprint, Resource, StatusMembers, Time
from app.dialects.fireworks.uploading import NothingSchema, SignedUrlsSchema

blueprint = AccountBlueprint("models", "Tuned models and weights of your own, under ids of your choice")

STATES = ("UPLOADING", "READY")
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
        "state": "state",
    },
    words={"state": {name: name for name in (*STATES, "STATE_UNSPECIFIED")}},
    tiebreak="id",
)
JOBS = {"supervised": "supervisedFineTuningJobs", "dpo": "dpoJobs"}
"""The collection of the jobs of a method."""
USED = {"displayName", "description"}


class PeftDetailsSchema(Resource):
    """What an adapter is made of."""

    base_model = fields.String(required=True)
    r = fields.Integer(required=True)
    target_modules = fields.List(fields.String(), required=True)


class NamedModelSchema(Resource):
    """A tuned model, or weights of one's own."""

    name = fields.String()
    display_name = fields.String()
    description = fields.String()
    create_time = Time()
    update_time = Time()
    state = fields.String(validate=validate.OneOf(STATES))
    status = fields.Nested(StatusMembers)
    kind = fields.String(metadata={"description": "HF_PEFT_ADDON is an adapter, HF_BASE_MODEL whole weights"})
    peft_details = fields.Nested(PeftDetailsSchema)
    fine_tuning_job = fields.String()
    context_length = fields.Integer(metadata={"description": "tokens"})


class GivenModelSchema(Given):
    """What may be said of a model; what nothing here uses is named in the answer's status."""

    display_name = fields.String(load_default="", validate=validate.Length(max=63))
    description = fields.String(load_default="", validate=validate.Length(max=999))


@blueprint.get("/models")
@blueprint.arguments(paging.PageQuery, location="query")
@blueprint.response(200, paging.list_of("models", NamedModelSchema))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List the models that the account has tuned, and the weights that it has brought"""
    return paging.answer(query, MODELS, lambda listing: named_models.page(caller(), listing), shown)


@blueprint.get("/models/<model_id>")
@blueprint.arguments(paging.MaskQuery, location="query")
@blueprint.response(200, NamedModelSchema)
def retrieve(query: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Retrieve a model's description"""
    return paging.masked(shown(named_models.retrieve(caller(), model_id)), query["read_mask"])


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
    return shown(changed, ignored=resources.ignored(g.body, USED))


@blueprint.delete("/models/<model_id>")
@blueprint.response(200, NothingSchema)
def delete(model_id: str) -> dict[str, Any]:
    """Delete a model; once it is READY the key needs the scope `owner`"""
    named_models.delete(caller(), model_id)
    return {}


@blueprint.get("/models/<model_id>:getDownloadEndpoint")
@blueprint.arguments(paging.MaskQuery, location="query")
@blueprint.response(200, SignedUrlsSchema)
def download(_: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Ask for the URLs of a model's files; there are none before it is READY"""
    own_id, sizes = named_models.files(caller(), model_id)
    urls = {name: signed.url("GET", f"models/{own_id}/{name}", size=size) for name, size in sizes.items()}
    return {"filename_to_signed_urls": urls}


def shown(model: NamedModel, ignored: Sequence[str] = ()) -> dict[str, Any]:
    """A model as answers have it; `ignored` is what a request said of it and nothing here uses."""
    chosen = model.hyperparameters
    kind = {"lora": "HF_PEFT_ADDON", "full": "HF_BASE_MODEL"}.get(chosen.get("training_type", ""))
    details = {
        "base_model": base_models.name_of(model.base) if model.base else "",
        "r": chosen.get("lora_rank", 0),
        "target_modules": chosen.get("lora_targets") or [],
    }
    awaited = "" if model.is_ready else "Its files have not come, or were not validated yet."
    message = " ".join(filter(None, [awaited, resources.not_used(list(ignored) or model.ignored)]))
    members = {
        "name": resources.name_of("models", model.name),
        "display_name": model.display_name,
        "description": model.description,
        "create_time": model.created_at,
        "update_time": model.updated_at,
        "state": model.state,
        "status": resources.status(message=message),
        "kind": kind,
        "peft_details": details if kind == "HF_PEFT_ADDON" else None,
        "fine_tuning_job": resources.name_of(JOBS[model.method], model.job_name) if model.job_name else None,
        "context_length": named_models.context_length(model),
    }
    return resources.known(members)
