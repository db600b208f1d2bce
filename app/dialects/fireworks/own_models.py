"""The routes of …/models that bring weights of one's own, and those that look at a model's files."""

from typing import Any
from urllib.parse import urlsplit

from flask import g
from marshmallow import EXCLUDE, fields, validate

from app.actions import models, named_models, own_weights
from app.core.errors import Invalid
from app.dialects.base import caller
from app.dialects.fireworks import base_models, resources, signed
from app.dialects.fireworks.job_fields import Given, Knob
from app.dialects.fireworks.models import GivenModelSchema, NamedModelSchema, shown
from app.dialects.fireworks.resources import AccountBlueprint, Resource
from app.dialects.fireworks.uploading import NothingSchema, SignedUrlsSchema, SizesSchema

blueprint = AccountBlueprint("own_models", "Weights of your own: uploaded, validated, and gone on from")

KINDS = {"HF_PEFT_ADDON": "lora", "HF_BASE_MODEL": "full"}
"""What weights of a kind are here."""
OTHER_KINDS = (
    "HF_TEFT_ADDON",
    "FLUMINA_BASE_MODEL",
    "FLUMINA_ADDON",
    "DRAFT_ADDON",
    "FIRE_AGENT",
    "LIVE_MERGE",
    "CUSTOM_MODEL",
    "EMBEDDING_MODEL",
    "SNAPSHOT_MODEL",
)
UNSET = ("", "KIND_UNSPECIFIED")
USED = {"displayName", "description", "kind", "peftDetails"}
USED_OF_ADAPTERS = {"baseModel", "r", "targetModules"}


class GivenPeftSchema(Given):
    """What an adapter is made of; what is unset is seen from its files."""

    base_model = fields.String(load_default="", metadata={"description": "Names the base of whole weights too"})
    r = Knob("lora_rank", "The rank")
    target_modules = fields.List(fields.String(), load_default=list)


class GivenWeightsSchema(GivenModelSchema):
    """What may be said of weights; what nothing here uses is named in the answer's status."""

    kind = fields.String(
        load_default="",
        validate=validate.OneOf((*UNSET, *KINDS, *OTHER_KINDS), error="must be one of {choices}."),
        metadata={"description": "Seen from the files where it is unset"},
    )
    peft_details = fields.Nested(GivenPeftSchema, load_default=dict)
    hugging_face_url = fields.String(
        load_default="", metadata={"description": "Names the base where nothing else does"}
    )


class NewModelSchema(Given):
    """A model that is to be made of files."""

    model_id = fields.String(required=True)
    model = fields.Nested(GivenWeightsSchema, load_default=lambda: GivenWeightsSchema().load({}))


class PrecisionSchema(Given):
    """The precision that weights are wanted in."""

    precision = fields.String(load_default="")


class ChecksQuery(Resource):
    """Which checks are to be left out: none is."""

    class Meta:
        unknown = EXCLUDE

    config_only = fields.Boolean(load_default=False)
    skip_hf_config_validation = fields.Boolean(load_default=False)
    trust_remote_code = fields.Boolean(load_default=False, metadata={"description": "No code of a model ever runs"})


class WarningsSchema(Resource):
    """What is to be said of a model's files."""

    warnings = fields.List(fields.String(), required=True)


@blueprint.post("/models")
@blueprint.arguments(NewModelSchema)
@blueprint.response(200, NamedModelSchema)
def create(wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a model of weights of your own, whose files are uploaded next"""
    given = wanted["model"]
    base, hub = _base(given)
    sent = g.body.get("model") or {}
    adapter = resources.ignored(sent.get("peftDetails") or {}, USED_OF_ADAPTERS)
    unused = resources.ignored(sent, USED | ({"huggingFaceUrl"} if hub else set()))
    made = own_weights.create(
        caller(),
        wanted["model_id"],
        display_name=given["display_name"],
        description=given["description"],
        base=base,
        hyperparameters=_shape(given),
        ignored=[*unused, *adapter, *resources.ignored(g.body, {"model", "modelId"})],
    )
    return shown(made)


def _base(given: dict[str, Any]) -> tuple[str, bool]:
    """The catalogue's name of the base that is named, or ""; and whether it is the hub's URL that names it."""
    named = given["peft_details"].get("base_model", "")
    if named:
        try:
            return base_models.named(named), False
        except Invalid as error:
            raise Invalid(error.message, param="model.peftDetails.baseModel") from error
    found = models.catalogue().find(_path(given["hugging_face_url"]).strip("/"))
    return (found.name, True) if found else ("", False)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # no URL at all
        return ""


def _shape(given: dict[str, Any]) -> dict[str, Any]:
    """What is said of the shape of weights. Raises Invalid for a kind that is not trained here."""
    kind, details = given["kind"], given["peft_details"]
    if kind in OTHER_KINDS:
        raise Invalid(
            f"Weights of the kind {kind} cannot be gone on from here: those of {' and '.join(KINDS)} can.",
            param="model.kind",
        )
    told = {"lora_rank": details.get("r"), "lora_targets": sorted(set(details.get("target_modules", ())))}
    shape = {name: value for name, value in told.items() if value}
    if shape and kind == "HF_BASE_MODEL":
        raise Invalid("Whole weights have no r and no targetModules: leave them out.", param="model.peftDetails")
    return shape if kind in UNSET else {"training_type": KINDS[kind], **shape}


@blueprint.post("/models/<model_id>:getUploadEndpoint")
@blueprint.arguments(SizesSchema)
@blueprint.response(200, SignedUrlsSchema)
def announce(wanted: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Ask for URLs to which the files of a model are sent, by PUT; what has come of others stays"""
    awaited = own_weights.announce(caller(), model_id, wanted["filename_to_size"])
    return {"filename_to_signed_urls": signed.urls_to_send(awaited)}


@blueprint.get("/models/<model_id>:validateUpload")
@blueprint.arguments(ChecksQuery, location="query")
@blueprint.response(200, WarningsSchema)
def check(query: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Look at the files of a model; it is READY when they are whole, and of a base model of this server"""
    told = resources.not_used(sorted(resources.camel(name) for name, value in query.items() if value))
    return {"warnings": [*own_weights.check(caller(), model_id), *filter(None, [told])]}


@blueprint.post("/models/<model_id>:prepare")
@blueprint.arguments(PrecisionSchema)
@blueprint.response(200, NothingSchema)
@blueprint.alt_response(501, description="The weights have another precision, and are not converted")
def prepare(wanted: dict[str, Any], model_id: str) -> dict[str, Any]:
    """Have the weights in a precision: that which they have, or none"""
    precision = wanted["precision"]
    named_models.prepare(caller(), model_id, precision="" if precision == "PRECISION_UNSPECIFIED" else precision)
    return {}
