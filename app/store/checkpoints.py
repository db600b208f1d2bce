"""Checkpoints: published states of a run, fenced like everything a worker writes."""

from collections.abc import Collection

from app.core import retention
from app.core.job import Checkpoint, Job
from app.core.retention import EPOCHS_KEPT
from app.store import rows
from app.store.db import Connection, Row, jsonb
from app.store.jobs import START
from app.store.leases import FENCE, LeaseLost, fence

COLUMNS = rows.columns(Checkpoint)
IS_MODEL = "(kind = 'epoch' or best)"
"""Which checkpoints a caller sees and uses: those of an epoch, and the best one, wherever it was made."""


def record(conn: Connection[Row], job: Job, new: Checkpoint) -> Checkpoint:
    """Make a checkpoint known, and forgive the losses before it: only losses without progress add up.

    A step that was published before keeps its id and name, and takes the new path. Raises LeaseLost.
    """
    held = conn.execute(f"update jobs set crashes = 0 where {FENCE} returning id", fence(job)).fetchone()
    if held is None:
        raise LeaseLost(job.id)
    if new.best:
        conn.execute("update checkpoints set best = false where job_id = %s", (job.id,))
    recorded = rows.one(
        conn,
        Checkpoint,
        f"""
        insert into checkpoints (id, job_id, attempt, step, kind, name, path, best, metrics)
        values (%(id)s, %(job)s, %(attempt)s, %(step)s, %(kind)s, %(name)s, %(path)s, %(best)s, %(metrics)s)
        on conflict (job_id, step) do update set attempt = excluded.attempt, kind = excluded.kind,
               path = excluded.path, best = excluded.best, metrics = excluded.metrics
        returning {COLUMNS}
        """,
        {
            "id": new.id,
            "job": job.id,
            "attempt": job.attempt,
            "step": new.step,
            "kind": new.kind,
            "name": new.name,
            "path": new.path,
            "best": new.best,
            "metrics": jsonb(new.metrics),
        },
    )
    assert recorded is not None
    return recorded


def replaced(conn: Connection[Row], new: Checkpoint) -> list[Checkpoint]:
    """The checkpoint of the same step whose bytes lie elsewhere, if any: once `new` is recorded they can go."""
    return rows.many(
        conn,
        Checkpoint,
        f"select {COLUMNS} from checkpoints where job_id = %(job)s and step = %(step)s and path <> %(path)s",
        {"job": new.job_id, "step": new.step, "path": new.path},
    )


def drop_beyond(conn: Connection[Row], job: Job, step: int) -> list[Checkpoint]:
    """Forget the checkpoints behind the step that an attempt really goes on from: they turned out to be unusable.

    Raises LeaseLost.
    """
    held = conn.execute(f"select id from jobs where {FENCE} for share", fence(job)).fetchone()
    if held is None:
        raise LeaseLost(job.id)
    return rows.many(
        conn,
        Checkpoint,
        f"delete from checkpoints where job_id = %(job)s and step > %(step)s returning {COLUMNS}",
        {"job": job.id, "step": step},
    )


def mark_best(conn: Connection[Row], job: Job, step: int) -> None:
    """Show the checkpoint of this step as the best one; none, where there is no such step."""
    conn.execute(
        "update checkpoints set best = (step = %(step)s) where job_id = %(job)s", {"job": job.id, "step": step}
    )


def prune(conn: Connection[Row], job: Job, *, keep_best: bool) -> list[Checkpoint]:
    """Forget the checkpoints that are superseded and return them, so that their bytes can go.

    Kept: what a resume needs, the newest three of an epoch, and the best one.
    """
    needed = retention.needed(resumable(conn, job.id), keep_best=keep_best)
    return rows.many(
        conn,
        Checkpoint,
        f"""
        delete from checkpoints where job_id = %(job)s and not best
           and id <> all(%(needed)s)
           and id not in (select id from checkpoints where job_id = %(job)s and kind = 'epoch'
                           order by step desc limit %(epochs)s)
        returning {COLUMNS}
        """,
        {"job": job.id, "needed": [checkpoint.id for checkpoint in needed], "epochs": EPOCHS_KEPT},
    )


def drop_ended(conn: Connection[Row]) -> list[Checkpoint]:
    """Forget what only a resume would need, of jobs that have ended, and return it."""
    return rows.many(
        conn,
        Checkpoint,
        f"""
        delete from checkpoints where not {IS_MODEL}
           and job_id in (select id from jobs where status in ('succeeded', 'failed', 'cancelled'))
        returning {COLUMNS}
        """,
        {},
    )


def unneeded(conn: Connection[Row], forgotten: Collection[Checkpoint]) -> list[Checkpoint]:
    """Those of checkpoints just forgotten that no unfinished job begins with: their bytes can go.

    A statement of its own, so that it sees the jobs whose creation kept the rows from being forgotten until now.
    """
    found = conn.execute(
        f"select {START} as path from jobs where finished_at is null and {START} = any(%(paths)s)",
        {"paths": [checkpoint.path for checkpoint in forgotten]},
    )
    needed = {row["path"] for row in found}
    return [checkpoint for checkpoint in forgotten if checkpoint.path not in needed]


def resumable(conn: Connection[Row], job_id: str) -> list[Checkpoint]:
    """The checkpoints of a job, newest step first."""
    return rows.many(
        conn,
        Checkpoint,
        f"select {COLUMNS} from checkpoints where job_id = %(job)s order by step desc",
        {"job": job_id},
    )


def page(
    conn: Connection[Row], job_id: str, *, after: str | None, limit: int, ascending: bool = False
) -> list[Checkpoint]:
    """At most `limit` usable checkpoints of a job, newest step first, from behind its checkpoint `after`."""
    order, beyond = ("asc", ">") if ascending else ("desc", "<")
    return rows.many(
        conn,
        Checkpoint,
        f"""
        select {COLUMNS} from checkpoints
         where job_id = %(job)s and {IS_MODEL}
           and (%(after)s::text is null or step {beyond} (select step from checkpoints where id = %(after)s
                                                            and job_id = %(job)s))
         order by step {order} limit %(limit)s
        """,
        {"job": job_id, "after": after, "limit": limit},
    )


def named(conn: Connection[Row], project_id: str, name: str) -> Checkpoint | None:
    """The usable checkpoint of this name, when it is the project's."""
    return rows.one(
        conn,
        Checkpoint,
        f"""
        select {COLUMNS} from checkpoints where name = %(name)s and {IS_MODEL}
           and job_id in (select id from jobs where project_id = %(project)s)
        """,
        {"name": name, "project": project_id},
    )
