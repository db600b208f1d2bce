"""API keys, administered on the command line alone."""

from collections.abc import Sequence

from app.core import names
from app.core.caller import SCOPES
from app.core.errors import Invalid
from app.core.job import Key
from app.store import keys
from app.store.db import transaction

MAX_NAME = 64


def create(*, project_id: str, org_id: str, name: str, scopes: Sequence[str], strict: bool) -> tuple[Key, str]:
    """Make a key for a project, which is made too when it is new. The secret is returned this once.

    Raises Invalid for a name or scope that is not usable, Unknown for a project of another organization.
    """
    for field, value in (("project", project_id), ("org", org_id), ("name", name)):
        if not 0 < len(value) <= MAX_NAME or not value.isprintable() or "/" in value or ":" in value:
            raise Invalid(f"{field} has 1 to {MAX_NAME} printable characters, without '/' and ':'", param=field)
    if not scopes or not set(scopes) <= set(SCOPES):
        raise Invalid(f"scopes are one or more of {', '.join(SCOPES)}", param="scopes")
    secret = names.api_key()
    with transaction() as conn:
        key = keys.create(
            conn,
            secret,
            project_id=project_id,
            org_id=org_id,
            name=name,
            scopes=[scope for scope in SCOPES if scope in scopes],
            strict=strict,
        )
    return key, secret


def listed(project_id: str | None) -> list[Key]:
    """The keys of a project, or all, oldest first."""
    with transaction() as conn:
        return keys.listed(conn, project_id)


def revoke(key_id: str) -> Key:
    """Make a key useless from now on. Raises Unknown."""
    with transaction() as conn:
        return keys.revoke(conn, key_id)
