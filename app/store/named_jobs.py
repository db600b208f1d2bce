"""Jobs under the ids that their makers chose, for doors at which they can be deleted."""

from app.core.errors import Unknown
from app.core.listings import Listed, Listing
from app.core.resources import JOB_FIELDS, STOPPING, NamedJob
from app.store import listings, rows
from app.store.db import Connection, Row

COLUMNS = rows.columns(NamedJob)
SOURCE = f"""
    select coalesce(a.alias, j.id) as name, j.id, j.spec->>'method' as method,
           case when j.desired = 'cancel' and j.finished_at is null then '{STOPPING}' else j.status end as state,
           coalesce(j.spec->>'display_name', j.spec->>'suffix', '') as display_name,
           coalesce(d.alias, j.spec->>'training_file') as dataset,
           coalesce(v.alias, j.spec->>'validation_file', '') as evaluation_dataset,
           coalesce(m.alias, a.alias, j.id) as output_model,
           substring(j.spec->>'base' from '[^/]*$') as base_model,
           coalesce(sm.alias, sj.alias, s.job_id, s.own_id, j.spec->'start'->>'name', '') as warm_start_from,
           coalesce(j.key_id, '') as created_by, j.spec, j.result, j.progress, j.error, j.active_seconds,
           j.created_at, j.updated_at, j.finished_at
      from jobs j
      left join aliases a on a.kind = 'job' and a.target = j.id
      left join aliases d on d.kind = 'dataset' and d.target = j.spec->>'training_file'
      left join aliases v on v.kind = 'dataset' and v.target = j.spec->>'validation_file'
      left join aliases m on m.kind = 'model' and m.target = j.id
      left join models s on s.name = j.spec->'start'->>'name' and s.project_id = j.project_id
      left join aliases sm on sm.kind = 'model' and sm.target = coalesce(s.job_id, s.own_id)
      left join aliases sj on sj.kind = 'job' and sj.target = s.job_id
     where j.project_id = %(project)s and j.spec->>'method' = %(method)s and j.deleted_at is null
"""


def page(conn: Connection[Row], project_id: str, method: str, listing: Listing) -> Listed[NamedJob]:
    """A page of a project's jobs of a method. Raises Invalid as filters do."""
    return listings.page(conn, NamedJob, SOURCE, JOB_FIELDS, listing, {"project": project_id, "method": method})


def get(conn: Connection[Row], project_id: str, method: str, name: str) -> NamedJob:
    """The job of a method, by the id that was chosen for it or its own, unless it was deleted. Raises Unknown."""
    job = rows.one(
        conn,
        NamedJob,
        f"""
        select {COLUMNS} from ({SOURCE}) found
         where id = coalesce((select target from aliases
                               where project_id = %(project)s and kind = 'job' and alias = %(name)s), %(name)s)
        """,
        {"project": project_id, "method": method, "name": name},
    )
    if job is None:
        raise Unknown(f"There is no {method} job '{name[:200]}'", param="job")
    return job


def delete(conn: Connection[Row], job_id: str) -> None:
    """Show a job no more at doors with deletion, and leave it at the others."""
    conn.execute("update jobs set deleted_at = clock_timestamp() where id = %s", (job_id,))
