"""What earlier jobs took, and what waits now: the facts that estimates are made of."""

from app.core.job import Crowd, Run
from app.store import rows
from app.store.db import Connection, Row

RECENT = 20
LOOKED_AT = 500


def runs(conn: Connection[Row], *, queue: str, base: str, training_type: str, method: str) -> list[Run]:
    """The newest succeeded jobs of a base model, training type and method, of all organizations.

    Looked for among the newest 500 of the queue.
    """
    return rows.many(
        conn,
        Run,
        """
        with newest as (select spec, result, progress, active_seconds, finished_at from jobs
                         where queue = %(queue)s and status = 'succeeded' order by finished_at desc limit %(looked_at)s)
        select (result->>'trained_tokens')::bigint as tokens, active_seconds as seconds,
               (progress->>'memory_bytes')::bigint as memory_bytes
          from newest
         where spec->>'base' = %(base)s and spec->>'method' = %(method)s
           and result->'hyperparameters'->>'training_type' = %(type)s
           and result ? 'trained_tokens' and active_seconds > 0
         order by finished_at desc limit %(recent)s
        """,
        {
            "queue": queue,
            "base": base,
            "type": training_type,
            "method": method,
            "recent": RECENT,
            "looked_at": LOOKED_AT,
        },
    )


def crowd(conn: Connection[Row], org_id: str, queue: str) -> Crowd:
    """What a job of the organization would find in the queue now."""
    found = rows.one(
        conn,
        Crowd,
        """
        with recent as (select active_seconds from jobs where queue = %(queue)s and status = 'succeeded'
                         order by finished_at desc limit %(recent)s)
        select count(*) filter (where status <> 'running' and org_id = %(org)s) as waiting_own,
               count(*) filter (where status <> 'running') as waiting,
               count(*) filter (where status = 'running') as running,
               (select avg(active_seconds)::float8 from recent) as job_seconds
          from jobs where queue = %(queue)s and status in ('validating_files', 'queued', 'running')
        """,
        {"org": org_id, "queue": queue, "recent": RECENT},
    )
    assert found is not None
    return found
