"""The signed URLs: one file in, or out, for whoever holds the URL, without an API key."""

from typing import Any

from flask import Response, request
from marshmallow import Schema
from werkzeug.exceptions import RequestEntityTooLarge

from app.actions import files, named_models, shards, signed_urls
from app.actions.signed_urls import Permit
from app.config import settings
from app.core.errors import Forbidden, Invalid
from app.dialects import downloads
from app.dialects.base import OpenBlueprint, caller

blueprint = OpenBlueprint(
    "fireworks_signed",
    __name__,
    url_prefix="/v1/accounts/<account_id>/signed",
    description="Files in and out by signed URLs, which need no key",
)

CHUNK = 256 * 1024
BYTES = {"type": "string", "format": "binary"}
BODY = {"required": True, "content": {"application/octet-stream": {"schema": BYTES}}}
OUTPUT = {"content_type": "application/octet-stream", "description": "The bytes"}


def url(method: str, thing: str, *, size: int) -> str:
    """The URL, at the host that was asked, that permits a method on a thing of the caller's account.

    Raises WrongState on a server that signs none.
    """
    path = signed_urls.signed(method, f"/v1/accounts/{caller().project_id}/signed/{thing}", size=size)
    scheme = request.headers.get("X-Forwarded-Proto", "").lower()
    return f"{scheme if scheme in ('http', 'https') else request.scheme}://{request.host}{path}"


@blueprint.put("/uploads/<upload_id>/<name>")
@blueprint.doc(security=[], requestBody=BODY)
@blueprint.response(200, Schema)
def put(account_id: str, upload_id: str, name: str) -> dict[str, Any]:
    """Send a file that was announced, with exactly its bytes"""
    permit = _permit()
    _refuse_size(name, permit)
    _lose_patience_with_silence()
    with shards.incoming(account_id, upload_id, name, permit) as received:
        request.max_content_length = permit.size + 1  # a body that ends at the limit may not be told from a longer one
        try:
            while chunk := request.stream.read(CHUNK):
                permit.check_time()
                received.write(chunk)
        except RequestEntityTooLarge as error:
            raise shards.wrong_size(name, permit) from error
        shards.keep(account_id, upload_id, name, permit, received)
    return {}


@blueprint.get("/files/<file_id>")
@blueprint.doc(security=[])
@blueprint.response(200, BYTES, **OUTPUT)
def get_file(account_id: str, file_id: str) -> Response:
    """Download a dataset"""
    _permit()
    file, opened = files.permitted(account_id, file_id)
    return downloads.attachment(opened, file.filename, size=file.bytes)


@blueprint.get("/models/<job_id>/<path:name>")
@blueprint.doc(security=[])
@blueprint.response(200, BYTES, **OUTPUT)
def get_model_file(account_id: str, job_id: str, name: str) -> Response:
    """Download a file of a tuned model"""
    permit = _permit()
    opened = named_models.permitted(account_id, job_id, name)
    return downloads.attachment(opened, name.rsplit("/", 1)[-1], size=permit.size)


def _permit() -> Permit:
    method = "GET" if request.method == "HEAD" else request.method
    return signed_urls.permitted(method, request.path, request.args)


def _lose_patience_with_silence() -> None:
    """Let whoever sends nothing for long lose the connection: anybody may hold a URL, and would hold a thread."""
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(settings().silence_seconds)


def _refuse_size(name: str, permit: Permit) -> None:
    """Raise Forbidden for a length that the request names and the URL is not for, Invalid for an unreadable range."""
    length = request.headers.get("Content-Length")
    if length is not None and length != str(permit.size):
        raise shards.wrong_size(name, permit)
    bounds = request.headers.get("x-goog-content-length-range")
    if bounds is None:
        return
    least, _, most = bounds.partition(",")
    if not (least.strip().isdigit() and most.strip().isdigit() and bounds.isascii()):
        raise Invalid("The header 'x-goog-content-length-range' is two numbers with a comma between.")
    if not int(least[:20]) <= permit.size <= int(most.strip()[:20]):
        raise Forbidden(
            f"The header 'x-goog-content-length-range' is {bounds[:40]}: {permit.size} bytes were announced."
        )
