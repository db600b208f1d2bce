"""API keys: kept as SHA-256 of 256 random bits, shown once; each belongs to a project of an organization."""

import hashlib
from collections.abc import Sequence

from app.core import names
from app.core.errors import Unknown
from app.core.job import Key
from app.store.db import Connection, Row

SELECT = """
    select k.id, k.project_id, p.org_id, k.name, k.prefix, k.scopes, k.strict_status, k.created_at, k.last_used_at,
           k.revoked_at
      from api_keys k join projects p on p.id = k.project_id
"""
PREFIX_LENGTH = 7
OWNER_SCOPES = ("read", "write", "owner")


def hashed(secret: str) -> bytes:
    """What is kept of a key. Keys hold 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def _key(row: Row) -> Key:
    return Key(**{**row, "scopes": tuple(row["scopes"])})


def create(
    conn: Connection[Row], secret: str, *, project_id: str, org_id: str, name: str, scopes: Sequence[str], strict: bool
) -> Key:
    """Make a key, and its organization and project when they are new.

    Raises Unknown when the project exists in another organization.
    """
    conn.execute("insert into orgs (id) values (%s) on conflict do nothing", (org_id,))
    conn.execute("insert into projects (id, org_id) values (%s, %s) on conflict do nothing", (project_id, org_id))
    owner = conn.execute("select org_id from projects where id = %s", (project_id,)).fetchone()
    if owner is None or owner["org_id"] != org_id:
        raise Unknown(f"Organization {org_id!r} has no project {project_id!r}", param="project")
    key_id = names.key_id()
    conn.execute(
        "insert into api_keys (id, project_id, name, prefix, hash, scopes, strict_status) "
        "values (%s, %s, %s, %s, %s, %s, %s)",
        (key_id, project_id, name, secret[:PREFIX_LENGTH], hashed(secret), list(scopes), strict),
    )
    key = with_secret(conn, secret)
    assert key is not None
    return key


def adopt(conn: Connection[Row], secret: str) -> Key:
    """Make the operator's own key an owner key of project `default`; a known one stays as it is."""
    row = conn.execute(SELECT + " where k.hash = %s", (hashed(secret),)).fetchone()
    if row is not None:
        return _key(row)
    return create(
        conn, secret, project_id="default", org_id="default", name="API_KEY", scopes=OWNER_SCOPES, strict=False
    )


def with_secret(conn: Connection[Row], secret: str) -> Key | None:
    """The key that has this secret, unless it was revoked."""
    row = conn.execute(SELECT + " where k.hash = %s and k.revoked_at is null", (hashed(secret),)).fetchone()
    return None if row is None else _key(row)


def used(conn: Connection[Row], key_id: str) -> None:
    """Note that a key was used, at most once a minute."""
    conn.execute(
        "update api_keys set last_used_at = clock_timestamp() where id = %s "
        "and (last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute')",
        (key_id,),
    )


def listed(conn: Connection[Row], project_id: str | None) -> list[Key]:
    """The keys of a project, or all, oldest first."""
    query = SELECT + " where %(project)s::text is null or k.project_id = %(project)s order by k.created_at"
    return [_key(row) for row in conn.execute(query, {"project": project_id})]


def revoke(conn: Connection[Row], key_id: str) -> Key:
    """Make a key useless from now on.

    Raises Unknown when there is none of this id.
    """
    conn.execute("update api_keys set revoked_at = coalesce(revoked_at, clock_timestamp()) where id = %s", (key_id,))
    row = conn.execute(SELECT + " where k.id = %s", (key_id,)).fetchone()
    if row is None:
        raise Unknown(f"No API key {key_id!r}", param="id")
    return _key(row)
