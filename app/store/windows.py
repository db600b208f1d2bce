"""The window: which waiting jobs are offered to Redis. Order is decided here, in Postgres, and nowhere else."""

from app.core.job import Job
from app.core.states import Status
from app.store.db import Connection, Row
from app.store.jobs import COLUMNS, several

_J_COLUMNS = ", ".join("j." + name for name in COLUMNS.split(", "))


def waiting(conn: Connection[Row]) -> list[tuple[Status, str]]:
    """The (status, queue) pairs that have a job waiting for a worker."""
    rows = conn.execute(
        """
        select distinct status, queue from jobs
         where status in ('validating_files', 'queued', 'finalizing') and lease_owner is null
        """
    )
    return [(Status(row["status"]), row["queue"]) for row in rows]


def forget(conn: Connection[Row], status: Status, queue: str, *, seconds: float, in_broker: int | None) -> int:
    """Unwake jobs that nobody claimed for `seconds`, and those that the broker has visibly lost; return how many.

    `in_broker`: messages in the broker's queue, or None when it cannot be asked.
    """
    return conn.execute(
        """
        with woken as (select id, woken_at, row_number() over (order by woken_at, id) k, count(*) over () n
                         from jobs where status = %(status)s and queue = %(queue)s and woken_at is not null)
        update jobs j set woken_at = null from woken w
         where j.id = w.id and j.woken_at = w.woken_at
           and (w.woken_at < clock_timestamp() - make_interval(secs => %(seconds)s)
                or (w.k <= w.n - %(in_broker)s::int
                    and w.woken_at < clock_timestamp() - make_interval(secs => %(seconds)s / 6)))
        """,
        {"status": status, "queue": queue, "seconds": seconds, "in_broker": in_broker},
    ).rowcount


def dispatch(conn: Connection[Row], status: Status, queue: str, *, ahead: int) -> list[Job]:
    """Wake waiting jobs in order until `ahead` are woken and unclaimed; the caller sends them after its commit."""
    conn.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1))", (f"{status}/{queue}",))
    return several(
        conn,
        f"""
        with pick as (
          select id from jobs
           where status = %(status)s and queue = %(queue)s and woken_at is null and lease_owner is null
             and status in ('validating_files', 'queued', 'finalizing')
             and desired = 'run' and not_before <= clock_timestamp()
           order by sort_key, id
           limit greatest(0, %(ahead)s - (select count(*) from jobs
                                           where status = %(status)s and queue = %(queue)s and woken_at is not null)))
        update jobs j set woken_at = clock_timestamp(), task_id = gen_random_uuid()::text from pick p
         where j.id = p.id and j.status = %(status)s and j.woken_at is null and j.lease_owner is null
           and j.desired = 'run'
        returning {_J_COLUMNS}
        """,
        {"status": status, "queue": queue, "ahead": ahead},
    )
