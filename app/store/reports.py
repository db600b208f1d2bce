"""Data reports: asked for by the API, made by a worker under a lease, kept for a week."""

from collections.abc import Mapping
from typing import Any

from app.core.job import DataReport
from app.store import rows
from app.store.db import Connection, Row, jsonb

COLUMNS = rows.columns(DataReport)
ATTEMPTS = 3
KEPT = "7 days"
FAILED_KEPT = "10 minutes"


def ask(conn: Connection[Row], report_id: str, *, project_id: str, spec: Mapping[str, Any]) -> DataReport:
    """The report of this id, made known when it is new."""
    report = rows.one(
        conn,
        DataReport,
        f"""
        insert into reports (id, project_id, spec) values (%(id)s, %(project)s, %(spec)s)
        on conflict (id) do update set id = excluded.id returning {COLUMNS}
        """,
        {"id": report_id, "project": project_id, "spec": jsonb(spec)},
    )
    assert report is not None
    return report


def waiting(conn: Connection[Row], project_id: str) -> int:
    """How many reports of a project are still to be made."""
    row = conn.execute("select count(*) n from reports where project_id = %s and content is null", (project_id,))
    found = row.fetchone()
    assert found is not None
    return int(found["n"])


def offer(conn: Connection[Row], report_id: str, *, seconds: float) -> bool:
    """Whether a message is to be sent: nobody works on the report, and no message was sent for `seconds`."""
    offered = conn.execute(
        """
        update reports set sent_at = clock_timestamp()
         where id = %(id)s and content is null and attempt < %(attempts)s
           and (lease_until is null or lease_until < clock_timestamp())
           and (sent_at is null or sent_at < clock_timestamp() - make_interval(secs => %(seconds)s))
        """,
        {"id": report_id, "attempts": ATTEMPTS, "seconds": seconds},
    )
    return offered.rowcount == 1


def claim(conn: Connection[Row], report_id: str, *, lease_seconds: float) -> DataReport | None:
    """Take a report for one attempt. None when it is made, given up or another's: then drop the message."""
    return rows.one(
        conn,
        DataReport,
        f"""
        update reports set attempt = attempt + 1,
               lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
         where id = %(id)s and content is null and attempt < %(attempts)s
           and (lease_until is null or lease_until < clock_timestamp())
        returning {COLUMNS}
        """,
        {"id": report_id, "attempts": ATTEMPTS, "lease": lease_seconds},
    )


def renew(conn: Connection[Row], report: DataReport, *, lease_seconds: float) -> bool:
    """Extend the lease; False when another attempt has the report."""
    held = conn.execute(
        """
        update reports set lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
         where id = %(id)s and attempt = %(attempt)s and content is null
        """,
        {"id": report.id, "attempt": report.attempt, "lease": lease_seconds},
    )
    return held.rowcount == 1


def finish(conn: Connection[Row], report: DataReport, content: Mapping[str, Any]) -> None:
    """Keep what an attempt found, unless another has taken its place."""
    conn.execute(
        """
        update reports set content = %(content)s, made_at = clock_timestamp(), lease_until = null
         where id = %(id)s and attempt = %(attempt)s and content is null
        """,
        {"id": report.id, "attempt": report.attempt, "content": jsonb(content)},
    )


def surrender(conn: Connection[Row], report: DataReport) -> None:
    """Give a report back: the next who asks for it has it made by another."""
    conn.execute(
        """
        update reports set lease_until = clock_timestamp(), sent_at = null
         where id = %(id)s and attempt = %(attempt)s and content is null
        """,
        {"id": report.id, "attempt": report.attempt},
    )


def give_up(conn: Connection[Row], content: Mapping[str, Any]) -> int:
    """End the reports whose workers were lost three times with this content; returns how many."""
    ended = conn.execute(
        """
        update reports set content = %(content)s, made_at = clock_timestamp(), lease_until = null
         where content is null and attempt >= %(attempts)s and lease_until < clock_timestamp()
        """,
        {"attempts": ATTEMPTS, "content": jsonb(content)},
    )
    return ended.rowcount


def forget(conn: Connection[Row]) -> int:
    """Remove the reports that are a week old, and those on files that were deleted; returns how many.

    A report that could not be made goes after ten minutes: what kept it from being made may have been mended.
    """
    removed = conn.execute(
        f"""
        delete from reports r where created_at < clock_timestamp() - interval '{KEPT}'
            or (made_at < clock_timestamp() - interval '{FAILED_KEPT}' and content->'files' = '[]')
            or exists (select from files f where f.deleted_at is not null
                        and f.id in (r.spec->>'training_file', r.spec->>'validation_file'))
        """
    )
    return removed.rowcount
