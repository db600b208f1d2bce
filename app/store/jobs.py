"""Jobs as their owners see them: made, read, paged, and wished to run, pause or end."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.core.errors import Unknown
from app.core.job import Job
from app.core.states import Desired, Status
from app.store import rows
from app.store.connections import fetch
from app.store.db import Connection, Row, jsonb

COLUMNS = rows.columns(Job)
START = "(spec->'start'->>'path')"
"""Where in storage the tuned model lies that a job goes on from: its bytes stay until the job has ended."""


def read(**row: Any) -> Job:
    """A Job from its row."""
    return Job(**{**row, "status": Status(row["status"]), "desired": Desired(row["desired"])})


def maybe(conn: Connection[Row], query: str, params: Mapping[str, Any]) -> Job | None:
    """The job that a statement returned, or None."""
    found = fetch(conn, query, params)
    return read(**found[0]) if found else None


def several(conn: Connection[Row], query: str, params: Mapping[str, Any]) -> list[Job]:
    """The jobs that a statement returned."""
    return [read(**row) for row in fetch(conn, query, params)]


def lock_creation(conn: Connection[Row], name: str) -> None:
    """Let one transaction at a time create under this name, so that a repeated request finds the first one's job."""
    conn.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def insert(
    conn: Connection[Row],
    job_id: str,
    *,
    project_id: str,
    key_id: str,
    queue: str,
    priority: int = 0,
    spec: Mapping[str, Any],
    metadata: Mapping[str, str] | None,
    idem_key: str | None,
    idem_hash: str,
) -> Job:
    """Make a job of a project; its first events are written by the trigger."""
    job = maybe(
        conn,
        f"""
        insert into jobs (id, project_id, org_id, key_id, queue, priority, spec, metadata, idem_key, idem_hash)
        select %(id)s, id, org_id, %(key)s, %(queue)s, %(priority)s, %(spec)s, %(metadata)s, %(idem_key)s, %(idem_hash)s
          from projects where id = %(project)s
        returning {COLUMNS}
        """,
        {
            "id": job_id,
            "project": project_id,
            "key": key_id,
            "queue": queue,
            "priority": priority,
            "spec": jsonb(spec),
            "metadata": jsonb(metadata),
            "idem_key": idem_key,
            "idem_hash": idem_hash,
        },
    )
    if job is None:
        raise Unknown(f"No project {project_id!r}")
    return job


def with_idempotency_key(conn: Connection[Row], project_id: str, idem_key: str) -> tuple[Job, str] | None:
    """The job made under an Idempotency-Key, and the hash of the body that made it."""
    row = conn.execute(
        f"select {COLUMNS}, idem_hash from jobs where project_id = %s and idem_key = %s", (project_id, idem_key)
    ).fetchone()
    if row is None:
        return None
    body_hash = row.pop("idem_hash")
    return read(**row), body_hash


def made_lately(conn: Connection[Row], key_id: str, idem_hash: str) -> Job | None:
    """The newest job that the same key made from the same body within ten minutes, unless it was deleted since."""
    return maybe(
        conn,
        f"""
        select {COLUMNS} from jobs
         where key_id = %(key)s and idem_hash = %(hash)s and created_at > clock_timestamp() - interval '10 minutes'
           and deleted_at is null
         order by created_at desc limit 1
        """,
        {"key": key_id, "hash": idem_hash},
    )


def get(conn: Connection[Row], project_id: str, job_id: str) -> Job:
    """The job of a project.

    Raises Unknown when there is none, or when it is another project's.
    """
    job = maybe(
        conn,
        f"select {COLUMNS} from jobs where id = %(id)s and project_id = %(project)s",
        {"id": job_id, "project": project_id},
    )
    if job is None:
        raise unknown(job_id)
    return job


def maker(conn: Connection[Row], job_id: str) -> Job:
    """The job that made a model, whichever project's it is: for those who may use the model."""
    job = maybe(conn, f"select {COLUMNS} from jobs where id = %(id)s", {"id": job_id})
    assert job is not None
    return job


def unknown(job_id: str) -> Unknown:
    """The error of a job id that names no job of the project."""
    return Unknown(f"Could not find fine tune: {job_id}", param="fine_tune_id", code="fine_tune_not_found")


def page(
    conn: Connection[Row],
    project_id: str,
    *,
    after: str | None,
    limit: int,
    ascending: bool = False,
    metadata: Mapping[str, str] | None,
    without_metadata: bool = False,
) -> list[Job]:
    """At most `limit` jobs of a project, newest first, from behind the job `after`; none when `after` is unknown."""
    order, beyond = ("asc", ">") if ascending else ("desc", "<")
    return several(
        conn,
        f"""
        select {COLUMNS} from jobs
         where project_id = %(project)s
           and (%(after)s::text is null or (created_at, id) {beyond}
                (select created_at, id from jobs where id = %(after)s and project_id = %(project)s))
           and (%(metadata)s::jsonb is null or metadata @> %(metadata)s)
           and (not %(without)s or metadata is null or metadata = '{{}}')
         order by created_at {order}, id {order} limit %(limit)s
        """,
        {
            "project": project_id,
            "after": after,
            "limit": limit,
            "metadata": jsonb(metadata),
            "without": without_metadata,
        },
    )


def request_cancel(conn: Connection[Row], project_id: str, job_id: str) -> Job | None:
    """End a job that no worker holds, or tell its worker to. None when it has ended, or is not there."""
    return maybe(
        conn,
        f"""
        update jobs set desired = 'cancel', woken_at = null,
               status = case when lease_owner is null then 'cancelled' else status end,
               finished_at = case when lease_owner is null then clock_timestamp() end
         where id = %(id)s and project_id = %(project)s and status not in ('succeeded', 'failed', 'cancelled')
        returning {COLUMNS}
        """,
        {"id": job_id, "project": project_id},
    )


def request_pause(conn: Connection[Row], project_id: str, job_id: str) -> Job | None:
    """Pause a waiting job, or ask its worker to; never erases a cancel. None when it cannot be paused."""
    return maybe(
        conn,
        f"""
        update jobs set desired = 'pause', woken_at = null,
               status = case status when 'queued' then 'paused' else status end
         where id = %(id)s and project_id = %(project)s and status in ('queued', 'running', 'paused')
           and desired <> 'cancel'
        returning {COLUMNS}
        """,
        {"id": job_id, "project": project_id},
    )


def request_resume(conn: Connection[Row], project_id: str, job_id: str) -> Job | None:
    """Queue a paused job again, or take back a pause not reached yet. None when it cannot be resumed."""
    return maybe(
        conn,
        f"""
        update jobs set desired = 'run', status = case status when 'paused' then 'queued' else status end,
               not_before = case status when 'paused' then clock_timestamp() else not_before end
         where id = %(id)s and project_id = %(project)s and status in ('paused', 'queued', 'running')
           and desired <> 'cancel'
        returning {COLUMNS}
        """,
        {"id": job_id, "project": project_id},
    )


def request_way(conn: Connection[Row], job_id: str) -> Job | None:
    """Ask a running job's worker to stop it for more urgent work: it is queued again. None when it does not run."""
    return maybe(
        conn,
        f"""
        update jobs set yields = true where id = %(id)s and status = 'running' and desired = 'run' returning {COLUMNS}
        """,
        {"id": job_id},
    )


def as_seen(job: Job) -> Job:
    """The job as its owner may see it: once a cancel was accepted it is cancelled, whatever a worker still does."""
    if job.desired is Desired.CANCEL and not job.ended:
        return replace(job, status=Status.CANCELLED)
    return job
