"""Tuned models and own weights: a row makes one public; its weights lie in storage under `path`."""

from app.core.errors import Unknown
from app.core.job import Model
from app.store import rows
from app.store.db import Connection, Row, jsonb
from app.store.jobs import START

COLUMNS = rows.columns(Model)
BEGUN_WITH = f"exists (select from jobs where finished_at is null and {START} = models.path)"


def insert(conn: Connection[Row], new: Model) -> None:
    """Make a tuned model public; the same transaction has just moved its job to succeeded."""
    conn.execute(
        """
        insert into models (name, project_id, org_id, job_id, base, path, manifest)
        values (%(name)s, %(project_id)s, %(org_id)s, %(job_id)s, %(base)s, %(path)s, %(manifest)s)
        """,
        {**vars(new), "manifest": jsonb(new.manifest)},
    )


def find(conn: Connection[Row], project_id: str, name: str) -> Model | None:
    """The tuned model of a project, or None."""
    return rows.one(
        conn,
        Model,
        f"select {COLUMNS} from models where name = %(name)s and project_id = %(project)s and deleted_at is null",
        {"name": name, "project": project_id},
    )


def listed(conn: Connection[Row], project_id: str) -> list[Model]:
    """The tuned models that a project made or may use, newest first; at most 10,000."""
    return rows.many(
        conn,
        Model,
        f"""
        select {COLUMNS} from models
         where deleted_at is null and (project_id = %(project)s
               or name = any(array(select model from permissions where project_id = %(project)s)))
         order by created_at desc, name limit 10000
        """,
        {"project": project_id},
    )


def delete(conn: Connection[Row], project_id: str, name: str) -> Model:
    """Take a tuned model out of the API.

    Raises Unknown when there is none.
    """
    model = rows.one(
        conn,
        Model,
        f"""
        update models set deleted_at = clock_timestamp()
         where name = %(name)s and project_id = %(project)s and deleted_at is null returning {COLUMNS}
        """,
        {"name": name, "project": project_id},
    )
    if model is None:
        raise unknown(name)
    return model


def unknown(name: str) -> Unknown:
    """The error of a name that no model of the project has."""
    return Unknown(f"The model '{name}' does not exist", param="model", code="model_not_found")


def unlinked(conn: Connection[Row]) -> list[Model]:
    """Public models whose link under `models/` was not made yet: the worker died between commit and link."""
    return rows.many(
        conn, Model, f"select {COLUMNS} from models where linked_at is null and deleted_at is null limit 100", {}
    )


def linked(conn: Connection[Row], name: str) -> bool:
    """Note that the link under `models/` stands; False when the model was deleted meanwhile."""
    query = "update models set linked_at = clock_timestamp() where name = %s and deleted_at is null"
    return conn.execute(query, (name,)).rowcount == 1


def withdrawn(conn: Connection[Row]) -> list[Model]:
    """Deleted models that stay for an unfinished job, and whose link under `models/` still stands."""
    return rows.many(
        conn,
        Model,
        f"""
        select {COLUMNS} from models
         where deleted_at is not null and path <> '' and linked_at is not null and {BEGUN_WITH} limit 100
        """,
        {},
    )


def unlink(conn: Connection[Row], name: str) -> None:
    """Note that the link of a deleted model is gone."""
    conn.execute("update models set linked_at = null where name = %s and deleted_at is not null", (name,))


def purgeable(conn: Connection[Row]) -> list[Model]:
    """Deleted models whose bytes are still there, and no unfinished job goes on from them."""
    return rows.many(
        conn,
        Model,
        f"select {COLUMNS} from models where deleted_at is not null and path <> '' and not {BEGUN_WITH} limit 100",
        {},
    )


def purged(conn: Connection[Row], name: str) -> None:
    """Note that a deleted model's bytes are gone."""
    conn.execute("update models set path = '' where name = %s and deleted_at is not null", (name,))
