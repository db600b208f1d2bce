"""Migrations beside a service at work: once, under a lock, without keeping anybody out for long."""

import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from app.store import migrate
from app.store.db import transaction
from tests.services import eventually, scratch_database
from tests.settings import settings

FILES = sorted(migrate.MIGRATIONS.glob("*.sql"))
LATER = [path for path in FILES if not path.name.startswith("0001")]
SHARES = "0002_shares.sql"
COMMENT = re.compile(r"--[^\n]*")


@pytest.fixture
def url(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """An empty database, which the settings name."""
    with (
        scratch_database(postgres_url) as made,
        settings(database_url=made, redis_url="redis://127.0.0.1:1", storage_url=str(tmp_path)),
    ):
        yield made


@pytest.fixture
def former(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database as the first version left it, with a project."""
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", tmp_path)
        for path in FILES:
            if path not in LATER:
                shutil.copy(path, tmp_path)
        migrate.migrate()
    with transaction() as conn:
        conn.execute("insert into orgs (id) values ('default')")
        conn.execute("insert into projects (id, org_id) values ('default', 'default')")
    return url


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[dict[str, object]]]:
    """An onlooker or a rival; whatever it waits for in vain ends the test."""
    options = "-c statement_timeout=60s"
    with psycopg.connect(url, autocommit=True, row_factory=dict_row, options=options) as conn:
        yield conn


@contextmanager
def releasing() -> Iterator[Future[list[str]]]:
    """A release that goes on beside the block."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(migrate.migrate)


def asks(conn: psycopg.Connection[dict[str, object]], query: str, *, held_up: bool = False) -> bool:
    """Whether another's latest statement is like this, and, if asked, is held up by a lock."""
    found = conn.execute(
        "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and query like %s and (not %s or wait_event_type = 'Lock')",
        (query, held_up),
    )
    return bool(found.rowcount)


def write(conn: psycopg.Connection[dict[str, object]]) -> None:
    """What the web does all day."""
    conn.execute(
        "insert into jobs (id, project_id, org_id, idem_hash, spec) "
        "values ('ftjob-' || gen_random_uuid(), 'default', 'default', '', '{\"training_file\": \"file-a\"}')"
    )


def test_migrating_again_changes_nothing(url):
    assert migrate.migrate() == [path.name for path in FILES]
    assert migrate.migrate() == []


def test_a_schema_newer_than_the_code_is_refused_and_left_alone(url):
    with connected(url) as conn:
        conn.execute("create table migrations (name text primary key)")
        conn.execute("insert into migrations (name) values ('9999_future.sql')")
        with pytest.raises(migrate.SchemaTooNew, match="9999_future"):
            migrate.migrate()
        assert conn.execute("select to_regclass('jobs') as jobs").fetchone() == {"jobs": None}


def test_two_releases_at_once_apply_each_migration_once(url):
    start = threading.Barrier(2)

    def release() -> list[str]:
        start.wait()
        return migrate.migrate()

    with ThreadPoolExecutor(2) as threads:
        ended = [threads.submit(release) for _ in range(2)]
    assert sorted(run.result() for run in ended) == [[], [path.name for path in FILES]]


def test_a_release_that_waits_for_another_does_not_hold_up_its_index_build(former):
    with connected(former) as first:
        first.execute("select pg_advisory_lock(%s)", (migrate.LOCK,))
        with releasing() as second:
            eventually(lambda: asks(first, "%advisory_lock%") or second.done())
            first.execute("create index concurrently held_up on jobs (key_id)")
            first.execute("select pg_advisory_unlock(%s)", (migrate.LOCK,))
        assert second.result()


def test_others_write_while_an_index_is_built(former):
    with connected(former) as slow, connected(former) as onlooker, releasing() as release:
        with slow.transaction():
            slow.execute("lock table jobs in row exclusive mode")  # a build waits for this writer, so it lasts
            eventually(lambda: asks(onlooker, "%create index%", held_up=True) or release.done())
            write(onlooker)
            assert not release.done()
        assert release.result()


def test_others_write_while_a_migration_waits_for_a_lock(former):
    with connected(former) as slow, connected(former) as onlooker, releasing() as release:
        with slow.transaction():
            slow.execute("lock table orgs in access share mode")
            eventually(lambda: asks(onlooker, "%alter table%", held_up=True) or release.done())
            write(onlooker)
            assert not release.done()
        assert release.result()


def test_a_migration_that_never_gets_its_locks_is_given_up(former, monkeypatch):
    monkeypatch.setattr(migrate, "PATIENCE_SECONDS", 0)
    with connected(former) as slow, slow.transaction():
        slow.execute("lock table orgs in access share mode")
        with pytest.raises(migrate.Blocked, match=SHARES):
            migrate.migrate()
    monkeypatch.undo()
    assert migrate.migrate()[0] == SHARES


def test_an_index_build_that_broke_off_begins_anew(former):
    with connected(former) as conn, connected(former) as rival:
        conn.execute("set lock_timeout = '10ms'")
        with rival.transaction():
            rival.execute("lock table jobs in row exclusive mode")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                conn.execute("create index concurrently jobs_next on jobs (id)")
        broken = "select indexrelid::regclass::text as name from pg_index where not indisvalid"
        assert conn.execute(broken).fetchall() == [{"name": "jobs_next"}]
        migrate.migrate()
        assert conn.execute(broken).fetchall() == []
        found = conn.execute("select indexdef as text from pg_indexes where indexname = 'jobs_next'").fetchone()
        assert found is not None
        assert "sort_key" in str(found["text"])


def test_no_table_is_rewritten(former):
    files = "select relname, pg_relation_filenode(oid) as file from pg_class where relkind = 'r' and relname !~ '^pg_'"
    with connected(former) as conn:
        write(conn)
        before = {str(row["relname"]): row["file"] for row in conn.execute(files)}
        migrate.migrate()
        after = {str(row["relname"]): row["file"] for row in conn.execute(files)}
    assert before.keys() <= after.keys()
    assert {name: after[name] for name in before} == before


def statements(path: Path) -> list[str]:
    """What stands between semicolons, without comments; functions fall to pieces, which these tests do not mind."""
    parts = COMMENT.sub("", path.read_text("utf-8")).lower().split(";")
    return [" ".join(part.split()) for part in parts if part.strip()]


@pytest.mark.parametrize("path", LATER, ids=lambda path: path.name)
def test_an_index_of_a_table_that_holds_rows_is_built_and_dropped_concurrently(path):
    told = statements(path)
    new = {match[1] for text in told if (match := re.match(r"create table (\w+)", text))}
    for text in told:
        built = re.match(r"create (?:unique )?index (concurrently )?.*? on (\w+)", text)
        assert built is None or built[1] or built[2] in new, f"it keeps writers out: {text}"
        assert not re.match(r"drop index (?!concurrently)", text), f"it waits with all readers behind it: {text}"


@pytest.mark.parametrize("path", [path for path in LATER if path.name.endswith(migrate.CONCURRENTLY)])
def test_a_file_outside_a_transaction_can_be_repeated_from_its_beginning(path):
    assert path.read_text("utf-8").count(";") == len(statements(path)), "a semicolon in a comment"
    dropped = set()
    for text in statements(path):
        if drop := re.fullmatch(r"drop index concurrently if exists (\w+)", text):
            dropped.add(drop[1])
        else:
            built = re.match(r"create (?:unique )?index concurrently (\w+) on ", text)
            assert built is not None, f"it is no index: {text}"
            assert built[1] in dropped, f"it may be there, and unfinished: {text}"
