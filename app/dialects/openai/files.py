"""The routes of /v1/files."""

import base64
from typing import Any

from flask import Response, request
from marshmallow import Schema, fields, validate

from app.actions import files, reports
from app.config import settings
from app.core.job import DataReport, File
from app.dialects import downloads, multipart
from app.dialects.answers import Answer
from app.dialects.base import Blueprint, caller
from app.dialects.openai import expiry
from app.dialects.openai.dry_run import FileReportSchema
from app.dialects.openai.fields import Deleted, Kind, Limit, PageQuery, Seconds, list_of, listing, one_of

blueprint = Blueprint("files", __name__, url_prefix="/v1/files", description="Training data and results")


class FileSchema(Answer):
    """A file."""

    id = fields.String(required=True)
    object = Kind("file")
    bytes = fields.Integer(required=True)
    created_at = Seconds(required=True)
    filename = fields.String(required=True)
    purpose = fields.String(required=True)
    expires_at = Seconds(allow_none=True)
    status = fields.Constant("processed", required=True, metadata={"type": "string"})
    status_details = fields.Constant(None, metadata={"type": "string"})


class FileQuery(PageQuery):
    """A page of files."""

    limit = Limit(default=10_000, most=10_000)
    purpose = fields.String(load_default=None)


class ReportQuery(Schema):
    """Whose tokens are to be counted."""

    model = fields.String(
        load_default=None,
        validate=validate.Length(1, 256),
        metadata={"description": "A base or tuned model; without one the rows are checked and no tokens counted"},
    )


class ContentQuery(Schema):
    """How the CSV of a job's results is wished for."""

    encoding = fields.String(
        load_default=None,
        validate=one_of("base64", "plain"),
        metadata={"description": "Of a CSV result file: base64, as OpenAI serves it, unless the server says plain"},
    )


FORM = multipart.described(
    "file",
    purpose={"type": "string", "enum": list(files.PURPOSES)},
    **expiry.FORM_FIELDS,
)


@blueprint.post("")
@blueprint.doc(requestBody=FORM)
@blueprint.response(200, FileSchema)
def create() -> File:
    """Upload a file"""
    with files.incoming(caller()) as received:
        form = multipart.read(request, into=received, name="file")
        return files.create(
            caller(),
            received,
            filename=form.filename or "",
            purpose=form.fields.get("purpose", ""),
            lifetime=expiry.of_form(form.fields),
        )


@blueprint.get("")
@blueprint.arguments(FileQuery, location="query")
@blueprint.response(200, list_of(FileSchema, ends=True))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List the project's files, newest first"""
    found = files.page(
        caller(),
        purpose=query["purpose"],
        after=query["after"],
        limit=query["limit"],
        ascending=query["ascending"],
    )
    return listing(found, wire_id=lambda file: file.id)


@blueprint.get("/<file_id>")
@blueprint.response(200, FileSchema)
def retrieve(file_id: str) -> File:
    """Retrieve a file's description"""
    return files.retrieve(caller(), file_id)


@blueprint.delete("/<file_id>")
@blueprint.response(200, Deleted)
def delete(file_id: str) -> dict[str, Any]:
    """Delete a file; jobs that were created with it keep their data"""
    return {"id": files.delete(caller(), file_id).id, "object": "file", "deleted": True}


@blueprint.get("/<file_id>/report")
@blueprint.arguments(ReportQuery, location="query")
@blueprint.response(200, FileReportSchema)
def report(query: dict[str, Any], file_id: str) -> DataReport:
    """Look at a training file: rows, tokens, and all that is wrong, line by line"""
    return reports.of_file(caller(), file_id, model=query["model"])


@blueprint.get("/<file_id>/content")
@blueprint.arguments(ContentQuery, location="query")
@blueprint.response(
    200, {"type": "string", "format": "binary"}, content_type="application/octet-stream", description="The bytes"
)
def content(query: dict[str, Any], file_id: str) -> Response:
    """Download a file's content"""
    file, opened = files.content(caller(), file_id)
    encoded = _is_results(file) and (query["encoding"] or settings().result_files) == "base64"
    size = 4 * -(-file.bytes // 3) if encoded else file.bytes
    return downloads.attachment(opened, file.filename, size=size, encode=base64.b64encode if encoded else bytes)


def _is_results(file: File) -> bool:
    return file.purpose == "fine-tune-results" and file.filename.endswith(".csv")
