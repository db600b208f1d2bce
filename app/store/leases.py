"""The worker's side of a job: claim, heartbeat, finish, surrender, and the take-back of what was lost.

Every statement is conditional on the lease, fenced by the attempt number; times are the database's.
"""

from collections.abc import Mapping
from typing import Any

from app.core.job import Job
from app.core.states import Desired, Outcome, Status
from app.store import orgs
from app.store.db import Connection, Row, jsonb
from app.store.jobs import COLUMNS, maybe, read

WANTED = "case when desired = 'run' and yields then 'pause' else desired end as desired"
FENCE = "id = %(id)s and attempt = %(attempt)s and lease_owner = %(owner)s"
LOSSES_ALLOWED = 3
TAKEN_BACK_AT_A_TIME = 100


class LeaseLost(Exception):
    """Another attempt has the job, or nobody: whoever sees this must stop, and write nothing more."""


def fence(job: Job) -> dict[str, Any]:
    """The parameters of FENCE."""
    return {"id": job.id, "attempt": job.attempt, "owner": job.lease_owner}


def claim(
    conn: Connection[Row], job_id: str, *, ready: Status, owner: str, lease_seconds: float, task_id: str | None = None
) -> Job | None:
    """Take the job for one attempt. None when it is not `ready`, not due, or another's: then drop the message.

    With a `task_id`, None also when a newer message has taken the place of this one.
    """
    return maybe(
        conn,
        f"""
        update jobs set status = case status when 'queued' then 'running' else status end, attempt = attempt + 1,
               lease_owner = %(owner)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
               woken_at = null,
               started_at = case when status = 'queued' then coalesce(started_at, clock_timestamp())
                                 else started_at end
         where id = %(id)s and status = %(ready)s and desired = 'run' and lease_owner is null
           and not_before <= clock_timestamp()
           and (%(task)s::text is null or task_id = %(task)s)
        returning {COLUMNS}
        """,
        {"id": job_id, "ready": ready, "owner": owner, "lease": lease_seconds, "task": task_id},
    )


def renew(conn: Connection[Row], job: Job, *, lease_seconds: float, progress: Mapping[str, Any] | None) -> Desired:
    """Extend the lease and return what is wanted of the job; one that must make way is stopped as for a pause.

    Raises LeaseLost when the lease is another's, or nobody's.
    """
    row = conn.execute(
        f"""
        update jobs set lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
               progress = coalesce(%(progress)s::jsonb, progress)
         where {FENCE} returning {WANTED}
        """,
        {**fence(job), "lease": lease_seconds, "progress": jsonb(progress)},
    ).fetchone()
    if row is None:
        raise LeaseLost(job.id)
    return Desired(row["desired"])


def freeze_environment(conn: Connection[Row], job: Job, environment: Mapping[str, Any]) -> None:
    """Keep what decides the bits of a run; the first attempt's stays.

    Raises LeaseLost when the lease is another's.
    """
    row = conn.execute(
        f"update jobs set environment = coalesce(environment, %(environment)s::jsonb) where {FENCE} returning id",
        {**fence(job), "environment": jsonb(environment)},
    ).fetchone()
    if row is None:
        raise LeaseLost(job.id)


def finish(
    conn: Connection[Row],
    job: Job,
    outcome: Outcome,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    progress: Mapping[str, Any] | None = None,
) -> Job:
    """Give the lease back and let the row decide the status: a pending cancel wins, a pending pause stops.

    Raises LeaseLost when the lease is another's: then nothing was written.
    """
    ended = maybe(
        conn,
        f"""
        update jobs set
          status = case
            when desired = 'cancel' then 'cancelled'
            when %(outcome)s::text = 'failed' then 'failed'
            when %(outcome)s::text = 'done' then case status when 'validating_files' then 'queued'
                                                       when 'running' then 'finalizing'
                                                       when 'finalizing' then 'succeeded' end
            when status <> 'running' then status
            when desired = 'pause' then 'paused'
            else 'queued' end,
          desired = case when desired = 'pause' and %(outcome)s in ('done', 'failed') then 'run' else desired end,
          crashes = case when %(outcome)s::text = 'done' then 0 else crashes end,
          lease_owner = null, lease_until = null, woken_at = null, not_before = clock_timestamp(),
          result = case when desired <> 'cancel' and %(outcome)s::text <> 'stopped'
                        then result || coalesce(%(result)s::jsonb, '{{}}') else result end,
          progress = coalesce(%(progress)s::jsonb, progress),
          error = case when desired <> 'cancel' and %(outcome)s::text = 'failed' then %(error)s::jsonb else error end,
          finished_at = case when desired = 'cancel' or %(outcome)s::text = 'failed'
                               or (%(outcome)s::text = 'done' and status = 'finalizing') then clock_timestamp() end
         where {FENCE} returning {COLUMNS}
        """,
        {**fence(job), "outcome": outcome, "result": jsonb(result), "error": jsonb(error), "progress": jsonb(progress)},
    )
    if ended is None:
        raise LeaseLost(job.id)
    orgs.charge(conn, {job.org_id: ended.active_seconds - job.active_seconds})
    return ended


def surrender(conn: Connection[Row], job: Job, *, loss: str | None = None) -> None:
    """Let the clock take the job back now: the trainer died unexplained, or something it needs is away.

    `loss` is `memory` when the trainer did not get the memory it needed: it was killed for it, or others held it.
    """
    conn.execute(
        f"update jobs set lease_until = clock_timestamp(), loss = %(loss)s where {FENCE}", {**fence(job), "loss": loss}
    )


def take_back(conn: Connection[Row], *, retry_seconds: float) -> list[Job]:
    """Take back at most 100 jobs whose leases lapsed: each is queued again after a growing wait, or ends.

    A job whose workers were lost more than three times in a row without a new resume point fails with `worker_lost`,
    or with `out_of_memory` when the last trainer did not get the memory it needed.
    """
    rows = conn.execute(
        f"""
        with x as (select id, active_seconds from jobs
                    where lease_owner is not null and lease_until <= clock_timestamp()
                    order by lease_until limit %(most)s for update skip locked)
        update jobs j set
          status = case when desired = 'cancel' then 'cancelled' when crashes + 1 > %(allowed)s then 'failed'
                        when status = 'running' then case desired when 'pause' then 'paused' else 'queued' end
                        else status end,
          desired = case when desired = 'pause' and crashes + 1 > %(allowed)s then 'run' else desired end,
          crashes = crashes + 1, lease_owner = null, lease_until = null, woken_at = null,
          not_before = clock_timestamp()
                     + least(interval '10 min', make_interval(secs => %(retry)s) * power(2, crashes)),
          error = case when desired <> 'cancel' and crashes + 1 > %(allowed)s then jsonb_build_object(
                    'code', case loss when 'memory' then 'out_of_memory' else 'worker_lost' end, 'param', null,
                    'message', case loss when 'memory'
                    then 'The trainer did not get the memory it needed, and workers were lost '
                    else 'The worker was lost ' end || crashes + 1 || ' times in a row without a new checkpoint. '
                    || case loss when 'memory' then 'A' else 'Its machine may lack memory: a' end
                    || ' smaller batch_size, max_length or model needs less. The job can be created again as it is.')
                  else error end,
          finished_at = case when desired = 'cancel' or crashes + 1 > %(allowed)s then clock_timestamp() end
         from x where j.id = x.id and j.lease_until <= clock_timestamp()
        returning j.active_seconds - x.active_seconds as spent, {", ".join("j." + name for name in COLUMNS.split(", "))}
        """,
        {"allowed": LOSSES_ALLOWED, "retry": retry_seconds, "most": TAKEN_BACK_AT_A_TIME},
    ).fetchall()
    spent: dict[str, float] = {}
    for row in rows:
        spent[row["org_id"]] = spent.get(row["org_id"], 0.0) + row.pop("spent")
    orgs.charge(conn, spent)
    return [read(**row) for row in rows]
