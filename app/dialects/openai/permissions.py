"""The routes of /v1/fine_tuning/checkpoints: who else may use a tuned model, or a checkpoint of a run."""

from typing import Any

from marshmallow import Schema, fields, validate

from app.actions import permissions
from app.actions.pages import Page
from app.dialects.answers import Answer
from app.dialects.base import Blueprint, caller
from app.dialects.openai.fields import Deleted, Kind, Limit, PageQuery, Seconds, list_of, listing

blueprint = Blueprint(
    "checkpoint-permissions",
    __name__,
    url_prefix="/v1/fine_tuning/checkpoints",
    description="Which projects may use a tuned model or a checkpoint, as a base and to download",
)

KIND = "checkpoint.permission"
MAX_PROJECTS = 100


class PermissionSchema(Answer):
    """A project may use the model."""

    id = fields.String(required=True)
    object = Kind(KIND)
    created_at = Seconds(required=True)
    project_id = fields.String(required=True)


Permissions = list_of(PermissionSchema, ends=True)


class PermissionQuery(PageQuery):
    """A page of permissions."""

    limit = Limit(default=10, most=100)
    project_id = fields.String(load_default=None)


class GrantSchema(Schema):
    """The projects that may use the model from now on, all of the key's organization."""

    project_ids = fields.List(fields.String(), required=True, validate=validate.Length(1, MAX_PROJECTS))


@blueprint.get("/<path:model>/permissions")
@blueprint.arguments(PermissionQuery, location="query")
@blueprint.response(200, Permissions)
def page(query: dict[str, Any], model: str) -> dict[str, Any]:
    """List who else may use a model, newest first"""
    found = permissions.page(
        caller(),
        model,
        project_id=query["project_id"],
        after=query["after"],
        limit=query["limit"],
        ascending=query["ascending"],
    )
    return listing(found, wire_id=lambda permission: permission.id)


@blueprint.post("/<path:model>/permissions")
@blueprint.arguments(GrantSchema)
@blueprint.response(200, Permissions)
def grant(wanted: dict[str, Any], model: str) -> dict[str, Any]:
    """Let projects use a model; the key needs the scope `owner`"""
    granted = permissions.grant(caller(), model, wanted["project_ids"])
    return listing(Page(granted, has_more=False), wire_id=lambda permission: permission.id)


@blueprint.delete("/<path:model>/permissions/<permission_id>")
@blueprint.response(200, Deleted)
def revoke(model: str, permission_id: str) -> dict[str, Any]:
    """Take a permission back; the key needs the scope `owner`"""
    permissions.revoke(caller(), model, permission_id)
    return {"id": permission_id, "object": KIND, "deleted": True}
