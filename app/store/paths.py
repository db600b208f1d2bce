"""Which paths in storage the rows name: whatever else lies there for long can go."""

from collections.abc import Collection

from app.store.db import Connection, Row
from app.store.jobs import START


def needed(conn: Connection[Row], paths: Collection[str]) -> set[str]:
    """Those of `paths` that a file, a part, a checkpoint or a model names, or an unfinished job: its folder, its start.

    One statement sees one moment: a model that goes over from a running job to a row of its own is never in neither.
    """
    found = conn.execute(
        f"""
        select path from files where path = any(%(paths)s)
        union all
        select path from upload_parts where path = any(%(paths)s)
        union all
        select path from checkpoints where path = any(%(paths)s)
        union all
        select path from models where path = any(%(paths)s)
        union all
        select 'models/' || project_id || '/' || name from models
         where path <> '' and 'models/' || project_id || '/' || name = any(%(paths)s)
        union all
        select {START} from jobs where finished_at is null and {START} = any(%(paths)s)
        union all
        select 'jobs/' || id from jobs
         where finished_at is null
           and id in (select substr(path, 6) from unnest(%(paths)s::text[]) path where path like 'jobs/%%')
        """,
        {"paths": list(paths)},
    )
    return {row["path"] for row in found}


def strangers(conn: Connection[Row], job_ids: Collection[str]) -> list[str]:
    """Those of `job_ids` that have no row here: rows of jobs are never deleted, so they are another database's."""
    found = conn.execute(
        """
        select asked from unnest(%(ids)s::text[]) asked
         where not exists (select from jobs where id = asked) order by asked
        """,
        {"ids": list(job_ids)},
    )
    return [row["asked"] for row in found]
