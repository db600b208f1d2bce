"""Files: one row each; the bytes lie in storage under `path`."""

from app.core.errors import Unknown
from app.core.job import File
from app.store import rows
from app.store.db import Connection, Row

COLUMNS = rows.columns(File)
PRESENT = "deleted_at is null and (expires_at is null or expires_at > clock_timestamp())"
"""A file is gone at the moment it expires; the clock notes it later."""


def insert(conn: Connection[Row], new: File, *, lifetime: int | None = None) -> File:
    """Make a file known, for `lifetime` seconds or for good."""
    file = rows.one(
        conn,
        File,
        f"""
        insert into files (id, project_id, filename, purpose, bytes, sha256, path, created_at, expires_at)
        select %(id)s, %(project_id)s, %(filename)s, %(purpose)s, %(bytes)s, %(sha256)s, %(path)s,
               t, t + make_interval(secs => %(lifetime)s)
          from clock_timestamp() t
        returning {COLUMNS}
        """,
        {**vars(new), "lifetime": lifetime},
    )
    assert file is not None
    return file


def get(conn: Connection[Row], project_id: str, file_id: str) -> File:
    """The file of a project.

    Raises Unknown when there is none, when it was deleted or has expired, or when it is another project's.
    """
    file = find(conn, project_id, file_id)
    if file is None:
        raise Unknown(f"No such File object: {file_id}", param="id")
    return file


def find(conn: Connection[Row], project_id: str, file_id: str) -> File | None:
    """The file of a project, or None."""
    return rows.one(
        conn,
        File,
        f"select {COLUMNS} from files where id = %(id)s and project_id = %(project)s and {PRESENT}",
        {"id": file_id, "project": project_id},
    )


def hold(conn: Connection[Row], project_id: str, file_id: str) -> File | None:
    """The file of a project, or None; it cannot be deleted before this transaction has ended."""
    return rows.one(
        conn,
        File,
        f"select {COLUMNS} from files where id = %(id)s and project_id = %(project)s and {PRESENT} for share",
        {"id": file_id, "project": project_id},
    )


def of_job(conn: Connection[Row], file_id: str) -> File | None:
    """The file that a job was created with, gone since or not: an accepted job keeps its data."""
    return rows.one(conn, File, f"select {COLUMNS} from files where id = %(id)s", {"id": file_id})


def page(
    conn: Connection[Row], project_id: str, *, purpose: str | None, after: str | None, limit: int, ascending: bool
) -> list[File]:
    """At most `limit` files of a project, newest first unless `ascending`, from behind the file `after`."""
    order, beyond = ("asc", ">") if ascending else ("desc", "<")
    return rows.many(
        conn,
        File,
        f"""
        select {COLUMNS} from files
         where project_id = %(project)s and {PRESENT}
           and (%(purpose)s::text is null or purpose = %(purpose)s)
           and (%(after)s::text is null or (created_at, id) {beyond}
                (select created_at, id from files where id = %(after)s and project_id = %(project)s))
         order by created_at {order}, id {order} limit %(limit)s
        """,
        {"project": project_id, "purpose": purpose, "after": after, "limit": limit},
    )


def delete(conn: Connection[Row], project_id: str, file_id: str) -> File:
    """Take a file out of the API.

    Raises Unknown when there is none.
    """
    file = get(conn, project_id, file_id)
    conn.execute("update files set deleted_at = clock_timestamp() where id = %s", (file_id,))
    return file


def expire(conn: Connection[Row]) -> int:
    """Note which files have expired, and how many those are; from then on they are as if deleted."""
    return conn.execute(
        "update files set deleted_at = clock_timestamp() where deleted_at is null and expires_at <= clock_timestamp()"
    ).rowcount


def purgeable(conn: Connection[Row], *, limit: int = 100) -> list[File]:
    """Deleted files whose bytes no unfinished job needs."""
    return rows.many(
        conn,
        File,
        f"""
        select {COLUMNS} from files f
         where deleted_at is not null and path <> ''
           and not exists (select from jobs j where j.project_id = f.project_id
                  and j.finished_at is null
                  and f.id in (j.spec->>'training_file', j.spec->>'validation_file'))
         limit %(limit)s
        """,
        {"limit": limit},
    )


def purged(conn: Connection[Row], file_id: str) -> None:
    """Note that a deleted file's bytes are gone."""
    conn.execute("update files set path = '' where id = %s and deleted_at is not null", (file_id,))
