"""The window: which waiting jobs are offered to Redis. Order is decided here, in Postgres, and nowhere else.

Organizations share by weight: first comes whose used trainer seconds, and those that its jobs at work are about to use,
are fewest for its weight. Within an organization priority decides, then age.
"""

from app.core.job import Job
from app.core.states import Status
from app.store.db import Connection, Row
from app.store.jobs import COLUMNS, read

EXPECTED_SECONDS = 300
"""Trainer seconds that a job counts for while it is at work; the same for all, so that only ratios matter."""

URGENT_SECONDS = 2
"""How long a job is offered to the workers before it is urgent enough that another makes way for it."""

_J_COLUMNS = ", ".join("j." + name for name in COLUMNS.split(", "))
_WAITS = "lease_owner is null and status in ('validating_files', 'queued', 'finalizing')"

BUSY = """
    busy as (select org_id, count(*) n
               from (select org_id from jobs where status = 'running' union all
                     select org_id from jobs where status = 'queued' and woken_at is not null and queue <> %(queue)s) x
              group by org_id)
"""
"""Jobs of each organization at work; those that another queue offers are as good as running."""

_OFFER = f"""
    with {BUSY},
    next as (
      select n.id, n.woken_at, n.sort_key,
             (faded(o.usage, o.usage_at) + (coalesce(b.n, 0) + n.k) * %(cost)s) / o.weight as share
        from orgs o left join busy b on b.org_id = o.id
       cross join lateral (
         select id, woken_at, sort_key, row_number() over (order by sort_key, id) k from jobs
          where status = %(status)s and queue = %(queue)s and org_id = o.id and {_WAITS}
            and desired = 'run' and not_before <= clock_timestamp()
          order by sort_key, id
          limit case when %(status)s <> 'queued' or coalesce(o.max_running, %(max_running)s) = 0 then %(ahead)s
                     else least(%(ahead)s, greatest(0, coalesce(o.max_running, %(max_running)s) - coalesce(b.n, 0)))
                end) n),
    picked as (
      select id, woken_at, row_number() over (order by share, sort_key, id) place from next
       order by place limit %(ahead)s),
    void as (
      update jobs j set woken_at = null, task_id = gen_random_uuid()::text
       where status = %(status)s and queue = %(queue)s and woken_at is not null and {_WAITS}
         and not exists (select from picked p where p.id = j.id))
    update jobs j set woken_at = clock_timestamp(), task_id = gen_random_uuid()::text
      from picked p
     where j.id = p.id and p.place >= (select min(place) from picked where woken_at is null)
       and j.status = %(status)s and j.lease_owner is null and j.desired = 'run'
    returning p.place, {_J_COLUMNS}
"""


def waiting(conn: Connection[Row]) -> list[tuple[Status, str]]:
    """The (status, queue) pairs that have a job waiting for a worker."""
    rows = conn.execute(f"select distinct status, queue from jobs where {_WAITS}")
    return [(Status(row["status"]), row["queue"]) for row in rows]


def _lock(conn: Connection[Row], status: Status) -> None:
    """Let one transaction at a time change what is offered, so that limits hold across queues.

    Its holder waits for no disk: an offer that a crash of the server forgets is made again, and its message is void.
    """
    conn.execute(
        "select pg_advisory_xact_lock(hashtextextended(%s, 1)), set_config('synchronous_commit', 'off', true)",
        (status,),
    )


def offered(conn: Connection[Row], status: Status, queue: str) -> int:
    """How many jobs of a status and queue are offered, and not claimed yet."""
    row = conn.execute(
        "select count(*) n from jobs where status = %s and queue = %s and woken_at is not null", (status, queue)
    ).fetchone()
    assert row is not None
    return int(row["n"])


def stands_behind(conn: Connection[Row], job: Job) -> bool:
    """Whether an earlier job of its organization and queue is yet to be offered, and no later one is offered already.

    Then it changes nothing in the organization's order; among organizations the next dispatch decides.
    """
    row = conn.execute(
        f"""
        with others as (
          select j.woken_at is not null as offered, (j.sort_key, j.id) < (me.sort_key, me.id) as earlier
            from jobs j, (select sort_key, id from jobs where id = %(id)s) me
           where j.status = %(status)s and j.queue = %(queue)s and j.org_id = %(org)s and {_WAITS}
             and j.desired = 'run' and j.not_before <= clock_timestamp())
        select exists (select from others where earlier and not offered)
           and not exists (select from others where offered and not earlier) as found
        """,
        {"id": job.id, "status": job.status, "queue": job.queue, "org": job.org_id},
    ).fetchone()
    assert row is not None
    return bool(row["found"])


def forget(conn: Connection[Row], status: Status, queue: str, *, seconds: float, in_broker: int | None) -> int:
    """Unwake jobs that nobody claimed for `seconds`, and those that the broker has visibly lost; return how many.

    `in_broker`: messages in the broker's queue, or None when it cannot be asked.
    """
    _lock(conn, status)
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


def dispatch(conn: Connection[Row], status: Status, queue: str, *, ahead: int, max_running: int = 0) -> list[Job]:
    """Offer the next `ahead` jobs; the caller sends those returned after its commit, in their order.

    An offered job that a newcomer overtakes is offered again behind it, or leaves the window; its old message is void,
    since a claim asks for the newest one. `max_running` limits the jobs at work of an organization that has no limit
    of its own; 0 is none.
    """
    _lock(conn, status)
    offered = conn.execute(
        _OFFER,
        {"status": status, "queue": queue, "ahead": ahead, "max_running": max_running, "cost": EXPECTED_SECONDS},
    ).fetchall()
    offered.sort(key=lambda row: row.pop("place"))
    return [read(**row) for row in offered]


def preempt(conn: Connection[Row]) -> list[str]:
    """Ask running jobs to make way for waiting ones of their organization with a higher priority; return their ids.

    One makes way for each job that was offered and that no worker was free to take.
    """
    rows = conn.execute(
        """
        with urgent as (
          select queue, org_id, priority, row_number() over (partition by queue, org_id order by sort_key, id) k
            from jobs where status = 'queued' and woken_at < clock_timestamp() - make_interval(secs => %(seconds)s)),
        at_work as (
          select id, queue, org_id, priority, yields,
                 row_number() over (partition by queue, org_id order by yields desc, priority, started_at desc) k
            from jobs where status = 'running' and desired = 'run')
        update jobs j set yields = true from at_work w join urgent u using (queue, org_id, k)
         where j.id = w.id and w.priority < u.priority and not w.yields
           and j.status = 'running' and j.desired = 'run'
        returning j.id
        """,
        {"seconds": URGENT_SECONDS},
    )
    return [row["id"] for row in rows]
