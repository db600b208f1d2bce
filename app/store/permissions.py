"""Permissions: which projects may use a tuned model or a checkpoint that another project made."""

from collections.abc import Collection

from app.core import names
from app.core.errors import Unknown
from app.core.job import Checkpoint, Model, Permission
from app.store import checkpoints, models, rows
from app.store.db import Connection, Row

COLUMNS = rows.columns(Permission)
HELD = "name = any(array(select model from permissions where project_id = %(project)s))"


def usable(conn: Connection[Row], project_id: str, name: str, *, hold: bool = False) -> Model | Checkpoint | None:
    """The tuned model, or else the checkpoint, of this name that a project may use now: its own, or permitted.

    With `hold` it cannot be deleted or forgotten before this transaction has ended.
    """
    wanted = {"project": project_id, "name": name}
    lock = "for share" if hold else ""
    return rows.one(
        conn,
        Model,
        f"""
        select {models.COLUMNS} from models
         where name = %(name)s and deleted_at is null and (project_id = %(project)s or {HELD}) {lock}
        """,
        wanted,
    ) or rows.one(
        conn,
        Checkpoint,
        f"""
        select {checkpoints.COLUMNS} from checkpoints
         where name = %(name)s and {checkpoints.IS_MODEL}
           and (job_id in (select id from jobs where project_id = %(project)s) or {HELD}) {lock}
        """,
        wanted,
    )


def grant(conn: Connection[Row], model: str, *, org_id: str, project_ids: Collection[str]) -> list[Permission]:
    """Permit a model to those of the projects that are the organization's; what stands already stays as it is."""
    wanted = sorted(set(project_ids))
    return rows.many(
        conn,
        Permission,
        f"""
        insert into permissions (id, model, project_id)
        select new.id, %(model)s, projects.id
          from unnest(%(ids)s::text[], %(projects)s::text[]) as new(id, project)
          join projects on projects.id = new.project and projects.org_id = %(org)s
        on conflict (model, project_id) do update set model = excluded.model
        returning {COLUMNS}
        """,
        {
            "model": model,
            "org": org_id,
            "ids": [names.permission_id() for _ in wanted],
            "projects": wanted,
        },
    )


def page(
    conn: Connection[Row], model: str, *, project_id: str | None, after: str | None, limit: int, ascending: bool
) -> list[Permission]:
    """At most `limit` permissions of a model, newest first unless `ascending`, from behind the permission `after`."""
    order, beyond = ("asc", ">") if ascending else ("desc", "<")
    return rows.many(
        conn,
        Permission,
        f"""
        select {COLUMNS} from permissions
         where model = %(model)s and (%(project)s::text is null or project_id = %(project)s)
           and (%(after)s::text is null or (created_at, id) {beyond}
                (select created_at, id from permissions where id = %(after)s and model = %(model)s))
         order by created_at {order}, id {order} limit %(limit)s
        """,
        {"model": model, "project": project_id, "after": after, "limit": limit},
    )


def revoke(conn: Connection[Row], model: str, permission_id: str) -> None:
    """Take a permission of a model back.

    Raises Unknown when there is none.
    """
    gone = conn.execute("delete from permissions where id = %s and model = %s", (permission_id, model)).rowcount
    if not gone:
        raise Unknown(f"No such permission: {permission_id}", param="permission_id")
