"""The routes of …/datasets: what a dataset is."""

from typing import Any

from flask import g
from marshmallow import EXCLUDE, fields, validate

from app.actions import datasets
from app.core.resources import DATASET_FIELDS, Dataset
from app.dialects.base import caller
from app.dialects.fireworks import paging, resources
from app.dialects.fireworks.job_fields import Given
from app.dialects.fireworks.resources import AccountBlueprint, Int64, Resource, StatusMembers, Time

blueprint = AccountBlueprint("datasets", "Training data under ids of your choice")

STATES = ("UPLOADING", "READY")
FORMATS = ("FORMAT_UNSPECIFIED", *datasets.FORMATS)
DATASETS = paging.Collection(
    key="datasets",
    kinds=DATASET_FIELDS,
    inside={
        "name": "name",
        "displayName": "display_name",
        "createTime": "created_at",
        "updateTime": "updated_at",
        "createdBy": "created_by",
        "state": "state",
        "format": "format",
    },
    words={"state": {name: name for name in (*STATES, "STATE_UNSPECIFIED")}},
)
USED = {"displayName", "format", "userUploaded"}
MAX_DISPLAY_NAME = 256


class DatasetSchema(Resource):
    """A dataset; counts are there once they are known."""

    name = fields.String()
    display_name = fields.String()
    create_time = Time()
    update_time = Time()
    created_by = fields.String(metadata={"description": "The key that made it"})
    state = fields.String(validate=validate.OneOf(STATES))
    status = fields.Nested(StatusMembers)
    example_count = Int64(metadata={"type": "string"})
    format = fields.String()
    user_uploaded = fields.Dict()


class GivenDatasetSchema(Given):
    """What may be said of a dataset; what nothing here uses is named in its status."""

    display_name = fields.String(load_default="", validate=validate.Length(max=MAX_DISPLAY_NAME))
    format = fields.String(load_default="", validate=validate.OneOf(("", *FORMATS), error="must be one of {choices}."))
    user_uploaded = fields.Dict(metadata={"description": "Every dataset here is"})


class NewDatasetSchema(Resource):
    """A dataset that is to be made."""

    class Meta:
        unknown = EXCLUDE

    dataset_id = fields.String(required=True)
    dataset = fields.Nested(GivenDatasetSchema, required=True)


@blueprint.post("/datasets")
@blueprint.arguments(NewDatasetSchema)
@blueprint.response(200, DatasetSchema)
def create(wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a dataset, whose rows are uploaded next"""
    given = wanted["dataset"]
    unused = resources.ignored(g.body["dataset"], USED) + resources.ignored(g.body, {"dataset", "datasetId"})
    made = datasets.create(
        caller(),
        wanted["dataset_id"],
        display_name=given["display_name"],
        format=given["format"] if given["format"] in datasets.FORMATS else "",
        ignored=unused,
    )
    return _shown(made)


@blueprint.get("/datasets")
@blueprint.arguments(paging.PageQuery, location="query")
@blueprint.response(200, paging.list_of("datasets", DatasetSchema))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List the account's datasets, training files of other doors included"""
    return paging.answer(query, DATASETS, lambda listing: datasets.page(caller(), listing), _shown)


@blueprint.get("/datasets/<dataset_id>")
@blueprint.arguments(paging.MaskQuery, location="query")
@blueprint.response(200, DatasetSchema)
def retrieve(query: dict[str, Any], dataset_id: str) -> dict[str, Any]:
    """Retrieve a dataset's description"""
    return paging.masked(_shown(datasets.retrieve(caller(), dataset_id)), query["read_mask"])


@blueprint.patch("/datasets/<dataset_id>")
@blueprint.arguments(GivenDatasetSchema)
@blueprint.response(200, DatasetSchema)
def change(given: dict[str, Any], dataset_id: str) -> dict[str, Any]:
    """Change a dataset's display name; nothing else of it changes"""
    unused = resources.ignored(g.body, {"displayName", "userUploaded"})
    changed = datasets.change(caller(), dataset_id, display_name=given["display_name"] or None, ignored=unused)
    return _shown(changed)


@blueprint.delete("/datasets/<dataset_id>")
@blueprint.response(200, Resource)
def delete(dataset_id: str) -> dict[str, Any]:
    """Delete a dataset; jobs that were created with it keep their data"""
    datasets.delete(caller(), dataset_id)
    return {}


def _shown(dataset: Dataset) -> dict[str, Any]:
    awaited = "" if dataset.is_ready else "Its rows have not come yet."
    message = " ".join(filter(None, [awaited, resources.not_used(dataset.ignored)]))
    members = {
        "name": resources.name_of("datasets", dataset.name),
        "display_name": dataset.display_name,
        "create_time": dataset.created_at,
        "update_time": dataset.updated_at,
        "created_by": dataset.created_by or None,
        "state": dataset.state,
        "status": resources.status(message=message),
        "example_count": dataset.example_count,
        "format": dataset.format or None,
        "user_uploaded": {},
    }
    return resources.known(members)
