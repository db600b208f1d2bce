"""The verbs of …/datasets that bring rows and take them out: in one request, or by signed URLs."""

from collections.abc import Mapping
from typing import Any

from flask import request
from marshmallow import EXCLUDE, fields

from app.actions import datasets, shards
from app.dialects import multipart
from app.dialects.base import caller
from app.dialects.fireworks import paging, signed
from app.dialects.fireworks.resources import AccountBlueprint, Int64, Resource

blueprint = AccountBlueprint("dataset_rows", "Rows of datasets: uploads and downloads")


class UploadedSchema(Resource):
    """What has come, as other clients know files."""

    id = fields.String(required=True)
    object = fields.Constant("file", required=True, metadata={"type": "string"})
    bytes = fields.Integer(required=True)
    created_at = fields.Integer(required=True, data_key="created_at", metadata={"description": "Unix time, s"})
    filename = fields.String(required=True)
    purpose = fields.Constant("fine-tune", required=True, metadata={"type": "string"})


class Size(Int64):
    """Bytes of a file that is announced; text that is no number at all tells no size, and neither does 0."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> int:
        if isinstance(value, str) and not any(letter.isdigit() for letter in value):
            return 0
        return super()._deserialize(value, attr, data, **options)


class SizesSchema(Resource):
    """The files that are to come."""

    class Meta:
        unknown = EXCLUDE

    filename_to_size = fields.Dict(keys=fields.String(), values=Size(allow_none=True), required=True)


class SignedUrlsSchema(Resource):
    """A URL for each file, which needs no API key and is good for an hour."""

    filename_to_signed_urls = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class NothingSchema(Resource):
    """An object that says nothing."""

    class Meta:
        unknown = EXCLUDE


@blueprint.post("/datasets/<dataset_id>:upload")
@blueprint.doc(requestBody=multipart.described("file"))
@blueprint.response(200, UploadedSchema)
def upload(dataset_id: str) -> dict[str, Any]:
    """Upload all rows at once, at most 150 MB; a form without a file changes nothing, and has 0 bytes"""
    with datasets.incoming(caller(), dataset_id) as received:
        form = multipart.read(request, into=received, name="file", is_needed=False)
        if form.filename is None:
            awaited = datasets.retrieve(caller(), dataset_id)
            bytes_, filename, created = 0, "", awaited.created_at
        else:
            made = datasets.upload(caller(), dataset_id, received, filename=form.filename)
            bytes_, filename, created = made.bytes, made.filename, made.created_at
    return {"id": dataset_id, "bytes": bytes_, "filename": filename, "created_at": int(created.timestamp())}


@blueprint.post("/datasets/<dataset_id>:getUploadEndpoint")
@blueprint.arguments(SizesSchema)
@blueprint.response(200, SignedUrlsSchema)
def announce(wanted: dict[str, Any], dataset_id: str) -> dict[str, Any]:
    """Ask for URLs to which the files of a dataset are sent, by PUT; what was announced before is void"""
    awaited = shards.announce(caller(), dataset_id, wanted["filename_to_size"])
    return {"filename_to_signed_urls": signed.urls_to_send(awaited)}


@blueprint.post("/datasets/<dataset_id>:validateUpload")
@blueprint.arguments(NothingSchema)
@blueprint.response(200, NothingSchema)
def validate(_: dict[str, Any], dataset_id: str) -> dict[str, Any]:
    """Make the dataset of the files that were sent; it is READY then"""
    shards.join(caller(), dataset_id)
    return {}


@blueprint.get("/datasets/<dataset_id>:getDownloadEndpoint")
@blueprint.arguments(paging.MaskQuery, location="query")
@blueprint.response(200, SignedUrlsSchema)
def download(_: dict[str, Any], dataset_id: str) -> dict[str, Any]:
    """Ask for the URL of a dataset's rows; there is none before it is READY"""
    file = datasets.file(caller(), dataset_id)
    urls = {} if file is None else {file.filename: signed.url("GET", f"files/{file.id}", size=file.bytes)}
    return {"filename_to_signed_urls": urls}
