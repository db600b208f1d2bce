"""Who asks: the key in a request's headers becomes a Caller. The key itself is never kept, logged or echoed."""

from datetime import UTC, datetime, timedelta

from werkzeug.datastructures import Headers

from app.config import settings
from app.core.caller import Caller
from app.core.errors import Unauthenticated
from app.core.job import Key
from app.store import keys
from app.store.db import autocommit
from app.store.known_keys import known

USE_NOTED_EVERY = timedelta(minutes=1)


def authenticate(headers: Headers) -> Caller:
    """The caller whose key the headers hold.

    Raises Unauthenticated when there is no key, or when it is unknown or revoked.
    """
    secret = _secret(headers)
    if not secret:
        raise Unauthenticated(
            "You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'.",
            code="invalid_api_key",
        )
    key = known().find(secret, _read)
    if key is None:
        raise Unauthenticated("Incorrect API key provided: it is unknown or was revoked.", code="invalid_api_key")
    return Caller(
        key_id=key.id,
        project_id=key.project_id,
        org_id=key.org_id,
        scopes=frozenset(key.scopes),
        strict_status=key.strict_status or settings().strict_status or _wants_closed_list(headers),
    )


def _read(secret: str) -> Key | None:
    """The key of a secret as Postgres has it, whose use is noted at times."""
    with autocommit() as conn:
        key = keys.with_secret(conn, secret)
        if key is not None and _use_is_news(key):
            keys.used(conn, key.id)
    return key


def _secret(headers: Headers) -> str:
    """Portkey's client sends a placeholder as bearer beside the real key, so its header wins; `api-key` is Azure's."""
    if key := headers.get("x-portkey-api-key", "").strip():
        return key
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key", "").strip()


def _wants_closed_list(headers: Headers) -> bool:
    """Portkey's client says "false" by itself, so only a "true" is somebody's wish."""
    return headers.get("x-portkey-strict-open-ai-compliance", "").strip().lower() == "true"


def _use_is_news(key: Key) -> bool:
    return key.last_used_at is None or key.last_used_at < datetime.now(UTC) - USE_NOTED_EVERY
