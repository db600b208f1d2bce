"""Weights of a project's own on their way to be a model: a row each, until the same id is that of a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.resources import OwnWeights, Shard, stored
from app.store import aliases, rows
from app.store.db import Connection, Row, jsonb

COLUMNS = rows.columns(OwnWeights)


def insert(
    conn: Connection[Row],
    own_id: str,
    *,
    project_id: str,
    display_name: str,
    description: str,
    base: str,
    hyperparameters: Mapping[str, Any],
    ignored: Sequence[str],
    created_by: str,
) -> None:
    """Make weights known before their files are there; `base` and `hyperparameters` are what was said of them."""
    conn.execute(
        """
        insert into own_weights
               (id, project_id, display_name, description, base, hyperparameters, ignored, created_by)
        values (%(id)s, %(project)s, %(display_name)s, %(description)s, %(base)s, %(hyperparameters)s, %(ignored)s,
                %(by)s)
        """,
        {
            "id": own_id,
            "project": project_id,
            "display_name": display_name,
            "description": description,
            "base": base,
            "hyperparameters": jsonb(hyperparameters),
            "ignored": list(ignored),
            "by": created_by,
        },
    )


def waiting(conn: Connection[Row], project_id: str) -> int:
    """How many weights of a project have not become a model."""
    row = conn.execute("select count(*) as n from own_weights where project_id = %s", (project_id,)).fetchone()
    assert row is not None
    return int(row["n"])


def hold(conn: Connection[Row], project_id: str, name: str) -> OwnWeights | None:
    """The weights that wait under this id, which no other transaction changes before this one has ended; or None."""
    return rows.one(
        conn,
        OwnWeights,
        f"select {COLUMNS} from own_weights where id = %(id)s and project_id = %(project)s for update",
        {"id": aliases.target(conn, project_id, "model", name), "project": project_id},
    )


def announce(conn: Connection[Row], own_id: str, *, upload_id: str, shards: Sequence[Shard]) -> None:
    """Replace the set of files that weights are to be made of."""
    conn.execute(
        """
        update own_weights set upload_id = %(upload)s, shards = %(shards)s, updated_at = clock_timestamp()
         where id = %(id)s
        """,
        {"id": own_id, "upload": upload_id, "shards": jsonb(stored(shards))},
    )


def describe(conn: Connection[Row], own_id: str, *, display_name: str | None, description: str | None) -> None:
    """Write what people call the model to come and say of it; None leaves what stands."""
    conn.execute(
        """
        update own_weights set display_name = coalesce(%(display_name)s, display_name),
               description = coalesce(%(description)s, description), updated_at = clock_timestamp()
         where id = %(id)s
        """,
        {"id": own_id, "display_name": display_name, "description": description},
    )


def delete(conn: Connection[Row], own_id: str) -> None:
    """Forget weights that have not become a model, and the id that was chosen for them."""
    aliases.release(conn, "model", target=own_id)
    conn.execute("delete from own_weights where id = %s", (own_id,))


def become_model(
    conn: Connection[Row], own_id: str, *, name: str, org_id: str, base: str, path: str, manifest: Mapping[str, Any]
) -> None:
    """Make weights that this transaction holds a model, public under a name."""
    conn.execute(
        """
        with come as (delete from own_weights where id = %(id)s returning *)
        insert into models (name, project_id, org_id, own_id, base, path, manifest,
                            display_name, description, created_at, updated_at)
        select %(name)s, project_id, %(org)s, id, %(base)s, %(path)s, %(manifest)s,
               display_name, description, created_at, clock_timestamp()
          from come
        """,
        {"id": own_id, "name": name, "org": org_id, "base": base, "path": path, "manifest": jsonb(manifest)},
    )
