"""`python -m app.store.migrate`: run new migrations in order, once, under a lock, and adopt API_KEY.

The service goes on meanwhile. A file is one transaction of short statements, and begins again after a while rather than
let others queue behind it. A file named `…_concurrently.sql` builds and drops indexes: its statements run one by one
outside a transaction, so it must be safe to repeat from its beginning; a semicolon in it always ends a statement.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from psycopg.errors import DeadlockDetected, LockNotAvailable

from app import logs
from app.config import settings
from app.store import keys
from app.store.db import Connection, Row, session, transaction

MIGRATIONS = Path(__file__).parent / "migrations"
CONCURRENTLY = "_concurrently.sql"
LOCK = 7_366_001
ASK_SECONDS = 0.5
AGAIN_SECONDS = 3.0
PATIENCE_SECONDS = 600.0
LIMITS = "set local lock_timeout = '1s'; set local statement_timeout = '10s'"
"""The longest that others queue behind a migration that waits, and that one of its statements may keep them out."""

log = logging.getLogger("app.store.migrate")


class SchemaTooNew(RuntimeError):
    """The database was migrated by a newer version of the code."""


class Blocked(RuntimeError):
    """A migration never got its locks; nothing of it was applied."""


def migrate() -> list[str]:
    """Apply what is not applied yet, and return the names of what was.

    Raises SchemaTooNew when the database knows a migration that this code does not, Blocked when somebody keeps a
    table locked.
    """
    names = sorted(path.name for path in MIGRATIONS.glob("*.sql"))
    with session() as conn:
        _await_turn(conn)
        new = _missing(conn, names)
        for name in new:
            _apply(conn, name)
    return new


def _await_turn(conn: Connection[Row]) -> None:
    """Take the lock of releases; it is asked for, since an index build would wait for whoever waits for it."""
    while conn.execute("select pg_try_advisory_lock(%s) as ours", (LOCK,)).fetchone() != {"ours": True}:
        time.sleep(ASK_SECONDS)


def _missing(conn: Connection[Row], names: Sequence[str]) -> list[str]:
    conn.execute(
        "create table if not exists migrations (name text primary key, "
        "applied_at timestamptz not null default clock_timestamp())"
    )
    applied = {row["name"] for row in conn.execute("select name from migrations")}
    if unknown := applied - set(names):
        raise SchemaTooNew(f"The database holds migrations that this version does not know: {sorted(unknown)}")
    return [name for name in names if name not in applied]


def _apply(conn: Connection[Row], name: str) -> None:
    """Run a file, again while others hold what it needs. Raises Blocked."""
    run = _run_statements if name.endswith(CONCURRENTLY) else _run_transaction
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return run(conn, name)
        except (LockNotAvailable, DeadlockDetected) as error:
            if time.monotonic() >= give_up_at:
                raise Blocked(f"{name} waited for its locks for {PATIENCE_SECONDS:.0f} s: {error}") from error
            log.warning("%s begins again in %.0f s: %s", name, AGAIN_SECONDS, error)
        time.sleep(AGAIN_SECONDS)


def _run_transaction(conn: Connection[Row], name: str) -> None:
    with conn.transaction():
        conn.execute(LIMITS)
        conn.execute((MIGRATIONS / name).read_text("utf-8"))
        _record(conn, name)


def _run_statements(conn: Connection[Row], name: str) -> None:
    conn.execute("set lock_timeout = 0; set statement_timeout = 0")  # nobody waits for a build, however long it takes
    for statement in (MIGRATIONS / name).read_text("utf-8").split(";"):
        conn.execute(statement)
    _record(conn, name)


def _record(conn: Connection[Row], name: str) -> None:
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
