"""Organizations: what they may run at once, what they have used, and the place of their jobs in the queue."""

from collections.abc import Mapping

from app.core.errors import Unknown
from app.core.job import Job, Org, Place
from app.store import rows
from app.store.db import Connection, Row
from app.store.windows import BUSY, EXPECTED_SECONDS

SELECT = "select id, weight, max_running, max_waiting, faded(usage, usage_at) as usage from orgs"
RECENT_JOBS = 20


def get(conn: Connection[Row], org_id: str) -> Org:
    """An organization.

    Raises Unknown when there is none of this id.
    """
    found = rows.one(conn, Org, f"{SELECT} where id = %(id)s", {"id": org_id})
    if found is None:
        raise Unknown(f"No organization {org_id!r}", param="org")
    return found


def listed(conn: Connection[Row]) -> list[Org]:
    """All organizations by name."""
    return rows.many(conn, Org, f"{SELECT} order by id", {})


def change(
    conn: Connection[Row], org_id: str, *, weight: float | None, max_running: int | None, max_waiting: int | None
) -> Org:
    """Set what is given and leave the rest. Raises Unknown."""
    conn.execute(
        """
        update orgs set weight = coalesce(%(weight)s, weight), max_running = coalesce(%(running)s, max_running),
               max_waiting = coalesce(%(waiting)s, max_waiting) where id = %(id)s
        """,
        {"id": org_id, "weight": weight, "running": max_running, "waiting": max_waiting},
    )
    return get(conn, org_id)


def not_begun(conn: Connection[Row], org_id: str) -> int:
    """How many jobs of an organization wait for their validation or training."""
    row = conn.execute(
        "select count(*) n from jobs where org_id = %s and status in ('validating_files', 'queued')", (org_id,)
    ).fetchone()
    assert row is not None
    return int(row["n"])


def charge(conn: Connection[Row], seconds: Mapping[str, float]) -> None:
    """Add trainer seconds to the organizations that used them; call it last in its transaction."""
    used = {org_id: spent for org_id, spent in seconds.items() if spent > 0}
    if not used:
        return
    ids = sorted(used)
    if len(ids) > 1:  # in order: no deadlock
        conn.execute("select id from orgs where id = any(%s) order by id for no key update", (ids,))
    conn.execute(
        """
        update orgs o set usage = faded(o.usage, o.usage_at) + u.seconds, usage_at = clock_timestamp()
          from unnest(%s::text[], %s::float8[]) as u(id, seconds) where o.id = u.id
        """,
        (ids, [used[org_id] for org_id in ids]),
    )


def place(conn: Connection[Row], job: Job, *, max_running: int) -> Place:
    """Where a queued job stands among those that wait in its queue, by the order in which they are offered."""
    row = conn.execute(
        f"""
        with {BUSY},
        waits as (select org_id, count(*) n from jobs
                   where status = 'queued' and queue = %(queue)s and lease_owner is null and desired = 'run'
                   group by org_id),
        mine as (select count(*) k from jobs j, (select sort_key, id from jobs where id = %(id)s) me
                  where j.status = 'queued' and j.queue = %(queue)s and j.org_id = %(org)s and j.lease_owner is null
                    and j.desired = 'run' and (j.sort_key, j.id) <= (me.sort_key, me.id)),
        orgs_now as (select o.id, o.weight, o.max_running, faded(o.usage, o.usage_at) used,
                            coalesce(b.n, 0) busy, coalesce(w.n, 0) waits
                       from orgs o left join busy b on b.org_id = o.id left join waits w on w.org_id = o.id),
        share as (select (used + (busy + k) * %(cost)s) / weight as mine from orgs_now, mine where id = %(org)s),
        recent as (select active_seconds from jobs where queue = %(queue)s and status = 'succeeded'
                    order by finished_at desc limit %(recent)s)
        select (select k from mine) + coalesce((
                 select sum(least(waits, greatest(0, floor((share.mine * weight - used) / %(cost)s) - busy)))
                   from orgs_now, share where id <> %(org)s), 0) as position,
               (select busy from orgs_now where id = %(org)s) as running,
               coalesce((select max_running from orgs_now where id = %(org)s), %(max_running)s) as most,
               (select count(*) from jobs where status = 'running' and queue = %(queue)s) as slots,
               (select avg(active_seconds) from recent) as length
        """,
        {
            "id": job.id,
            "org": job.org_id,
            "queue": job.queue,
            "cost": EXPECTED_SECONDS,
            "max_running": max_running,
            "recent": RECENT_JOBS,
        },
    ).fetchone()
    assert row is not None
    return Place(
        position=int(row["position"]),
        running=row["running"],
        max_running=row["most"],
        slots=row["slots"],
        job_seconds=None if row["length"] is None else float(row["length"]),
    )
