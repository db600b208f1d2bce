"""Secrets that came with a job, such as the key of another service: sealed here, opened for its worker alone.

They end with their job: the clock removes those of ended jobs within seconds.
"""

from app import seals
from app.store.db import Connection, Row


def keep(conn: Connection[Row], project_id: str, kind: str, owner_id: str, *, secret: str) -> None:
    """Store a secret, sealed. Raises WrongState on a server without SECRET_KEY."""
    conn.execute(
        "insert into secrets (project_id, kind, owner_id, sealed) values (%s, %s, %s, %s)",
        (project_id, kind, owner_id, seals.seal(secret, (project_id, kind, owner_id))),
    )


def find(conn: Connection[Row], project_id: str, kind: str, owner_id: str) -> str | None:
    """A secret as it was given; None when there is none.

    Raises WrongState when SECRET_KEY has changed since, or the row was moved here from elsewhere.
    """
    row = conn.execute(
        "select sealed from secrets where project_id = %s and kind = %s and owner_id = %s",
        (project_id, kind, owner_id),
    ).fetchone()
    return None if row is None else seals.unseal(bytes(row["sealed"]), (project_id, kind, owner_id))


def drop_ended(conn: Connection[Row]) -> None:
    """Remove the secrets of jobs that have ended."""
    conn.execute("delete from secrets s using jobs j where j.id = s.owner_id and j.finished_at is not null")
