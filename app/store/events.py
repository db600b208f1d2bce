"""The event log of a job: append-only, fenced when a worker writes, paged newest first."""

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from app.core.job import Event, Job, NewEvent
from app.core.states import Desired
from app.store import rows
from app.store.db import Connection, Row
from app.store.leases import FENCE, WANTED, LeaseLost, fence

COLUMNS = rows.columns(Event)


def append(conn: Connection[Row], job: Job, events: Sequence[NewEvent], *, seq: int) -> Desired:
    """Write a worker's events, numbered from `seq` within its attempt; what was said `once` is not said again.

    Returns what the owner of the job wants by now, so that a worker which reports learns it before its next heartbeat.

    Raises LeaseLost when the lease is another's: then nothing was written.
    """
    batch = [
        {
            "seq": seq + number,
            "once": event.once,
            "level": event.level,
            "type": event.type,
            "message": event.message,
            "data": None if event.data is None else dict(event.data),
        }
        for number, event in enumerate(events)
    ]
    row = conn.execute(
        f"""
        with ok as (select id, attempt, {WANTED} from jobs where {FENCE} for share),
        written as (
          insert into job_events (job_id, attempt, seq, once, level, type, message, data)
          select ok.id, ok.attempt, e.seq, e.once, e.level, e.type, e.message, e.data
            from ok, jsonb_to_recordset(%(batch)s)
              as e(seq int, once text, level text, type text, message text, data jsonb)
           order by e.seq
          on conflict do nothing returning 1)
        select desired from ok
        """,
        {**fence(job), "batch": Jsonb(batch)},
    ).fetchone()
    if row is None:
        raise LeaseLost(job.id)
    return Desired(row["desired"])


def note(conn: Connection[Row], job_id: str, event: NewEvent) -> None:
    """Write an event of the API's own, such as the warning about a body key that was ignored."""
    conn.execute(
        """
        insert into job_events (job_id, attempt, once, level, type, message, data)
        select id, attempt, %(once)s, %(level)s, %(type)s, %(message)s, %(data)s from jobs where id = %(id)s
        on conflict do nothing
        """,
        {
            "id": job_id,
            "once": event.once,
            "level": event.level,
            "type": event.type,
            "message": event.message,
            "data": None if event.data is None else Jsonb(dict(event.data)),
        },
    )


def page(conn: Connection[Row], job_id: str, *, after: int | None, limit: int, ascending: bool = False) -> list[Event]:
    """At most `limit` events of a job, newest first, from behind its event `after`; none when it has no such event."""
    order, beyond = ("asc", ">") if ascending else ("desc", "<")
    return rows.many(
        conn,
        Event,
        f"""
        select {COLUMNS} from job_events
         where job_id = %(job)s and (%(after)s::bigint is null or id {beyond}
               (select id from job_events where id = %(after)s and job_id = %(job)s))
         order by id {order} limit %(limit)s
        """,
        {"job": job_id, "after": after, "limit": limit},
    )


def has(conn: Connection[Row], job_id: str, number: int) -> bool:
    """Whether a job has an event of this number."""
    query = "select 1 from job_events where id = %s and job_id = %s"
    return conn.execute(query, (number, job_id)).fetchone() is not None


def metrics(conn: Connection[Row], job_id: str) -> list[Event]:
    """Every metrics event of a job, by step; a run has at most one per step."""
    return rows.many(
        conn,
        Event,
        f"""
        select {COLUMNS} from job_events where job_id = %(job)s and type = 'metrics'
         order by (data->>'step')::int
        """,
        {"job": job_id},
    )
