"""The routes of /v1/uploads."""

from typing import Any

from flask import request
from marshmallow import EXCLUDE, Schema, fields, validate

from app.actions import files, uploads
from app.core.job import File, Part, Upload
from app.dialects import multipart
from app.dialects.answers import Answer
from app.dialects.base import Blueprint, caller
from app.dialects.bodies import MAX_INTEGER
from app.dialects.openai.expiry import ExpiresAfterSchema
from app.dialects.openai.fields import Kind, Seconds, one_of
from app.dialects.openai.files import FileSchema

blueprint = Blueprint("uploads", __name__, url_prefix="/v1/uploads", description="Large files, sent in parts")

STATUSES = ("pending", "completed", "cancelled", "expired")
MAX_PARTS = 10_000


class UploadSchema(Answer):
    """A file that is sent in parts, and the file once it is whole."""

    id = fields.String(required=True)
    object = Kind("upload")
    bytes = fields.Integer(required=True, metadata={"description": "The size that it was announced with"})
    created_at = Seconds(required=True)
    filename = fields.String(required=True)
    purpose = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": list(STATUSES)})
    expires_at = Seconds(required=True)
    file = fields.Nested(FileSchema, required=True, allow_none=True)
    md5 = fields.String(required=True, allow_none=True, metadata={"description": "Of the whole file, in hex"})


class NewUploadSchema(Schema):
    """A file to be sent in parts."""

    class Meta:
        unknown = EXCLUDE

    bytes = fields.Integer(required=True, strict=True, validate=validate.Range(0, MAX_INTEGER))
    filename = fields.String(required=True, validate=validate.Length(1, 1024))
    mime_type = fields.String(required=True, validate=validate.Length(1, 255))
    purpose = fields.String(required=True, validate=one_of(*files.PURPOSES))
    expires_after = fields.Nested(ExpiresAfterSchema, allow_none=True)


class PartSchema(Answer):
    """A part of an upload."""

    id = fields.String(required=True)
    object = Kind("upload.part")
    created_at = Seconds(required=True)
    upload_id = fields.String(required=True)


class CompletionSchema(Schema):
    """The parts that make the file, in its order."""

    class Meta:
        unknown = EXCLUDE

    part_ids = fields.List(fields.String(), required=True, validate=validate.Length(1, MAX_PARTS))
    md5 = fields.String(
        allow_none=True,
        metadata={
            "description": "Compared with the file's when it is an MD5, in hex or base64; see `md5` of the answer"
        },
    )


@blueprint.post("")
@blueprint.arguments(NewUploadSchema)
@blueprint.response(200, UploadSchema)
def create(wanted: dict[str, Any]) -> dict[str, Any]:
    """Begin to upload a file in parts; there is an hour's time"""
    upload = uploads.create(
        caller(),
        filename=wanted["filename"],
        purpose=wanted["purpose"],
        size=wanted["bytes"],
        mime_type=wanted["mime_type"],
        lifetime=(wanted.get("expires_after") or {}).get("seconds"),
    )
    return _shown(upload)


@blueprint.post("/<upload_id>/parts")
@blueprint.doc(requestBody=multipart.described("data"))
@blueprint.response(200, PartSchema)
def add_part(upload_id: str) -> Part:
    """Send a part of at most 64 MB; parts may come in any order, and side by side"""
    with uploads.incoming(caller(), upload_id) as received:
        multipart.read(request, into=received, name="data")
        return uploads.add_part(caller(), upload_id, received)


@blueprint.post("/<upload_id>/complete")
@blueprint.arguments(CompletionSchema)
@blueprint.response(200, UploadSchema)
def complete(wanted: dict[str, Any], upload_id: str) -> dict[str, Any]:
    """Make a file of an upload's parts"""
    done = uploads.complete(caller(), upload_id, part_ids=wanted["part_ids"], md5=wanted.get("md5"))
    return _shown(done.upload, done.file)


@blueprint.post("/<upload_id>/cancel")
@blueprint.response(200, UploadSchema)
def cancel(upload_id: str) -> dict[str, Any]:
    """Cancel an upload; its parts go"""
    return _shown(uploads.cancel(caller(), upload_id))


def _shown(upload: Upload, file: File | None = None) -> dict[str, Any]:
    return {**vars(upload), "file": file}
