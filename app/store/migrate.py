"""`python -m app.store.migrate`: run new migrations in order, once, under a lock, and adopt API_KEY."""

import logging
from pathlib import Path

from app import logs
from app.config import settings
from app.store import keys
from app.store.db import Connection, Row, transaction

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_366_001

log = logging.getLogger("app.store.migrate")


class SchemaTooNew(RuntimeError):
    """The database was migrated by a newer version of the code."""


def migrate() -> list[str]:
    """Apply what is not applied yet, all in one transaction, and return the names of what was.

    Raises SchemaTooNew when the database knows a migration that this code does not.
    """
    names = sorted(path.name for path in MIGRATIONS.glob("*.sql"))
    with transaction() as conn:
        conn.execute("set local lock_timeout = 0")
        conn.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        conn.execute(
            "create table if not exists migrations (name text primary key, "
            "applied_at timestamptz not null default clock_timestamp())"
        )
        applied = {row["name"] for row in conn.execute("select name from migrations")}
        if unknown := applied - set(names):
            raise SchemaTooNew(f"The database holds migrations that this version does not know: {sorted(unknown)}")
        new = [name for name in names if name not in applied]
        for name in new:
            _apply(conn, name)
    return new


def _apply(conn: Connection[Row], name: str) -> None:
    conn.execute((MIGRATIONS / name).read_text("utf-8"))
    conn.execute("insert into migrations (name) values (%s)", (name,))


def main() -> None:
    """The release step: the schema, and the owner key of the environment."""
    logs.configure(settings().log_level)
    for name in migrate():
        log.info("applied %s", name)
    if settings().api_key:
        with transaction() as conn:
            key = keys.adopt(conn, settings().api_key)
        if key.revoked_at is not None:
            log.warning("API_KEY holds %s, which was revoked and stays so: set another", key.id)


if __name__ == "__main__":
    main()
