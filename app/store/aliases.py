"""Ids that callers choose: unique per project and kind, each stands for one thing; what is gone gives its id back."""

from app.core.errors import Taken
from app.store.db import Connection, Row

GONE = """
    delete from aliases a
     where project_id = %(project)s and kind = %(kind)s and alias = %(alias)s and case kind
           when 'dataset' then exists (select from files f where f.id = a.target
                and (f.deleted_at is not null or f.expires_at <= clock_timestamp()))
           when 'model' then exists (select from models m
                where (m.job_id = a.target or m.own_id = a.target) and m.deleted_at is not null)
                or exists (select from jobs j where j.id = a.target
                and (j.status in ('failed', 'cancelled') or j.desired = 'cancel'))
           else false end
"""


def reserve(conn: Connection[Row], project_id: str, kind: str, alias: str, *, target: str) -> None:
    """Let an id stand for a thing: `kind` is `job`, `dataset`, or `model`, whose target is the job that makes it or
    the id of one's own weights.

    Raises Taken when it stands for another one that is still there.
    """
    wanted = {"project": project_id, "kind": kind, "alias": alias, "target": target}
    conn.execute(GONE, wanted)
    made = conn.execute(
        """
        insert into aliases (project_id, kind, alias, target)
        values (%(project)s, %(kind)s, %(alias)s, %(target)s) on conflict (project_id, kind, alias) do nothing
        """,
        wanted,
    ).rowcount
    if not made:
        raise Taken(f"There is a {kind} '{alias}' already: choose another id, or delete it first.", param=f"{kind}Id")


def target(conn: Connection[Row], project_id: str, kind: str, alias: str) -> str:
    """What an id of this kind stands for: what its chooser gave it to, else itself."""
    row = conn.execute(
        "select target from aliases where project_id = %s and kind = %s and alias = %s", (project_id, kind, alias)
    ).fetchone()
    return alias if row is None else str(row["target"])


def release(conn: Connection[Row], kind: str, *, target: str) -> None:
    """Give the id of a thing back, if one was chosen for it."""
    conn.execute("delete from aliases where kind = %s and target = %s", (kind, target))
