"""The signed URLs: one file in, or out, for whoever holds the URL, without an API key."""

from typing import Any

from flask import Response, request
from marshmallow import Schema
from werkzeug.exceptions import RequestEntityTooLarge

from app.actions import arrivals, files, named_models, signed_urls
from app.actions.arrivals import Announcement
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


def urls_to_send(awaited: Announcement) -> dict[str, str]:
    """The URLs to which announced files are sent, by their names. Raises WrongState on a server that signs none."""
    return {
        shard.name: url(
            "PUT",
            f"uploads/{awaited.upload_id}/{shard.name}",
            size=shard.bytes or awaited.room,
            is_exact=shard.bytes is not None,
        )
        for shard in awaited.shards
    }


def url(method: str, thing: str, *, size: int, is_exact: bool = True) -> str:
    """The URL, at the host that was asked, that permits a method on a thing of the caller's account.

    Raises WrongState on a server that signs none.
    """
    thing = f"/v1/accounts/{caller().project_id}/signed/{thing}"
    path = signed_urls.signed(method, thing, size=size, is_exact=is_exact)
    scheme = request.headers.get("X-Forwarded-Proto", "").lower()
    return f"{scheme if scheme in ('http', 'https') else request.scheme}://{request.host}{path}"


@blueprint.put("/uploads/<upload_id>/<name>")
@blueprint.doc(security=[], requestBody=BODY)
@blueprint.response(200, Schema)
def put(account_id: str, upload_id: str, name: str) -> dict[str, Any]:
    """Send a file that was announced, with exactly its bytes, or at most as many as the URL says"""
    permit = _permit()
    _refuse_size(name, permit)
    _lose_patience_with_silence()
    with arrivals.incoming(account_id, upload_id, name, permit) as received:
        request.max_content_length = permit.size + 1  # a body that ends at the limit may not be told from a longer one
        try:
            while chunk := request.stream.read(CHUNK):
                permit.check_time()
                received.write(chunk)
        except RequestEntityTooLarge as error:
            raise arrivals.wrong_size(name, permit) from error
        arrivals.keep(account_id, upload_id, name, permit, received)
    return {}


@blueprint.get("/files/<file_id>")
@blueprint.doc(security=[])
@blueprint.response(200, BYTES, **OUTPUT)
def get_file(account_id: str, file_id: str) -> Response:
    """Download a dataset"""
    _permit()
    file, opened = files.permitted(account_id, file_id)
    return downloads.attachment(opened, file.filename, size=file.bytes)


@blueprint.get("/models/<model_id>/<path:name>")
@blueprint.doc(security=[])
@blueprint.response(200, BYTES, **OUTPUT)
def get_model_file(account_id: str, model_id: str, name: str) -> Response:
    """Download a file of a model"""
    permit = _permit()
    opened = named_models.permitted(account_id, model_id, name)
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
    if length is not None and not (length.isascii() and length.isdigit() and permit.fits(int(length[:20]))):
        raise arrivals.wrong_size(name, permit)
    bounds = request.headers.get("x-goog-content-length-range")
    if bounds is None:
        return
    least, _, most = bounds.partition(",")
    if not (least.strip().isdigit() and most.strip().isdigit() and bounds.isascii()):
        raise Invalid("The header 'x-goog-content-length-range' is two numbers with a comma between.")
    size = permit.size if permit.is_exact else request.content_length
    if size is None or not int(least[:20]) <= size <= int(most.strip()[:20]):
        told = (
            f"{size} bytes were announced" if permit.is_exact else f"the body has {size or 'no known number of'} bytes"
        )
        raise Forbidden(f"The header 'x-goog-content-length-range' is {bounds[:40]}: {told}.")
