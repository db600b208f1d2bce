"""Uploads and their parts: pending until they become a file, are cancelled, or expire."""

from collections.abc import Sequence

from app.core.errors import Unknown
from app.core.job import Part, Upload
from app.store import rows
from app.store.db import Connection, Row

STATUS = "case when status = 'pending' and expires_at <= clock_timestamp() then 'expired' else status end as status"
"""An upload has expired at the moment it expires; the clock notes it later."""
COLUMNS = rows.columns(Upload).replace(" status,", f" {STATUS},")
PARTS = rows.columns(Part)

OF_WEIGHTS = "weights"
"""The purpose of an upload whose parts become a model's files."""
SPARE = 64 << 20
"""Parts may be sent again, up to the announced size and one part more; bytes."""
LATE_SECONDS = 3600
"""An upload that was completed in time may be joined for this long before its parts go."""


def insert(
    conn: Connection[Row],
    upload_id: str,
    *,
    project_id: str,
    filename: str,
    purpose: str,
    size: int,
    mime_type: str,
    lifetime: int | None,
    open_seconds: int,
) -> Upload:
    """Begin an upload of `size` bytes, which takes parts for `open_seconds`."""
    upload = rows.one(
        conn,
        Upload,
        f"""
        insert into uploads (id, project_id, filename, purpose, bytes, mime_type, lifetime, created_at, expires_at)
        select %(id)s, %(project)s, %(filename)s, %(purpose)s, %(bytes)s, %(mime_type)s, %(lifetime)s,
               t, t + make_interval(secs => %(open)s)
          from clock_timestamp() t
        returning {COLUMNS}
        """,
        {
            "id": upload_id,
            "project": project_id,
            "filename": filename,
            "purpose": purpose,
            "bytes": size,
            "mime_type": mime_type,
            "lifetime": lifetime,
            "open": open_seconds,
        },
    )
    assert upload is not None
    return upload


def get(conn: Connection[Row], project_id: str, upload_id: str) -> Upload:
    """The upload of a project.

    Raises Unknown when there is none, when it is another project's, or when it is of weights, which are no file.
    """
    upload = rows.one(
        conn,
        Upload,
        f"""
        select {COLUMNS} from uploads
         where id = %(id)s and project_id = %(project)s and purpose <> '{OF_WEIGHTS}'
        """,
        {"id": upload_id, "project": project_id},
    )
    if upload is None:
        raise Unknown(f"No such Upload object: {upload_id}", param="upload_id")
    return upload


def admit(conn: Connection[Row], upload_id: str, size: int) -> bool:
    """Make room for a part of `size` bytes; False when the upload takes no more, or no part of this size."""
    return (
        conn.execute(
            """
            update uploads set received = received + %(bytes)s
             where id = %(id)s and status = 'pending' and expires_at > clock_timestamp()
               and received + %(bytes)s <= 2 * bytes + %(spare)s
            """,
            {"id": upload_id, "bytes": size, "spare": SPARE},
        ).rowcount
        == 1
    )


def add_part(conn: Connection[Row], part_id: str, *, upload_id: str, size: int, path: str) -> Part:
    """Make a part known, in the transaction that admitted it."""
    part = rows.one(
        conn,
        Part,
        f"""
        insert into upload_parts (id, upload_id, bytes, path) values (%(id)s, %(upload)s, %(bytes)s, %(path)s)
        returning {PARTS}
        """,
        {"id": part_id, "upload": upload_id, "bytes": size, "path": path},
    )
    assert part is not None
    return part


def put_part(conn: Connection[Row], part_id: str, *, upload_id: str, size: int, path: str) -> str | None:
    """Make a part known that may have come before, in the transaction that admitted it; the path that it had then."""
    row = conn.execute(
        """
        with former as (select path from upload_parts where id = %(id)s)
        insert into upload_parts (id, upload_id, bytes, path) values (%(id)s, %(upload)s, %(bytes)s, %(path)s)
        on conflict (id) do update
           set upload_id = excluded.upload_id, path = excluded.path, bytes = excluded.bytes
        returning (select path from former) as former
        """,
        {"id": part_id, "upload": upload_id, "bytes": size, "path": path},
    ).fetchone()
    assert row is not None
    return None if row["former"] is None else str(row["former"])


def parts(conn: Connection[Row], upload_id: str) -> list[Part]:
    """The parts of an upload, in no order."""
    return rows.many(conn, Part, f"select {PARTS} from upload_parts where upload_id = %(id)s", {"id": upload_id})


def complete(
    conn: Connection[Row], upload_id: str, *, file_id: str, part_ids: Sequence[str], md5: str
) -> Upload | None:
    """End an upload as a file made of these parts; None when it has ended already."""
    return rows.one(
        conn,
        Upload,
        f"""
        update uploads set status = 'completed', file_id = %(file)s, part_ids = %(parts)s, md5 = %(md5)s
         where id = %(id)s and status = 'pending'
        returning {COLUMNS}
        """,
        {"id": upload_id, "file": file_id, "parts": list(part_ids), "md5": md5},
    )


def cancel(conn: Connection[Row], project_id: str, upload_id: str) -> Upload | None:
    """End an upload without a file; None when it has ended otherwise, or is not there."""
    return rows.one(
        conn,
        Upload,
        f"""
        update uploads set status = 'cancelled'
         where id = %(id)s and project_id = %(project)s
           and (status = 'cancelled' or (status = 'pending' and expires_at > clock_timestamp()))
        returning {COLUMNS}
        """,
        {"id": upload_id, "project": project_id},
    )


def hold(conn: Connection[Row], upload_id: str) -> bool:
    """Let an upload neither end nor admit a part before this transaction has ended; False when it has ended already."""
    query = "select from uploads where id = %s and status = 'pending' for update"
    return conn.execute(query, (upload_id,)).rowcount == 1


def hand_over(conn: Connection[Row], upload_id: str, *, to: str, part_ids: Sequence[str]) -> None:
    """Give parts of an upload, held before so that all are seen, to another one, so that they do not end with it."""
    conn.execute(
        "update upload_parts set upload_id = %(to)s where upload_id = %(upload)s and id = any(%(parts)s)",
        {"upload": upload_id, "to": to, "parts": list(part_ids)},
    )


def end(conn: Connection[Row], upload_id: str) -> bool:
    """End an upload whose parts have become something else than a file; False when it has ended already."""
    query = "update uploads set status = 'cancelled' where id = %s and status = 'pending'"
    return conn.execute(query, (upload_id,)).rowcount == 1


def expire(conn: Connection[Row]) -> None:
    """Note which uploads have expired long enough ago that nobody joins their parts any more."""
    conn.execute(
        """
        update uploads set status = 'expired'
         where status = 'pending' and expires_at <= clock_timestamp() - make_interval(secs => %s)
        """,
        (LATE_SECONDS,),
    )


def purgeable(conn: Connection[Row], *, limit: int = 100) -> list[Part]:
    """Parts whose upload has ended, so that their bytes can go."""
    return rows.many(
        conn,
        Part,
        f"""
        select {PARTS} from upload_parts p
         where exists (select from uploads u where u.id = p.upload_id and u.status <> 'pending') limit %(limit)s
        """,
        {"limit": limit},
    )


def purged(conn: Connection[Row], part: Part) -> None:
    """Forget a part whose bytes are gone, unless it has come again since."""
    conn.execute("delete from upload_parts where id = %s and path = %s", (part.id, part.path))
