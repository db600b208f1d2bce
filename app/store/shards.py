"""Files that were announced one by one: those of a dataset, or of weights of a project's own."""

from app.core.resources import Shard, announced
from app.store.db import Connection, Row


def awaited(conn: Connection[Row], project_id: str, upload_id: str) -> list[Shard]:
    """What is awaited under the latest announcement of a thing that is not READY; nothing under an earlier one."""
    row = conn.execute(
        """
        select shards from datasets
         where upload_id = %(upload)s and project_id = %(project)s
           and not exists (select from files where files.id = datasets.id)
        union all
        select shards from own_weights where upload_id = %(upload)s and project_id = %(project)s
        """,
        {"upload": upload_id, "project": project_id},
    ).fetchone()
    return [] if row is None else announced(row["shards"])
