"""What the database itself refuses, whatever the code says."""

import psycopg
import pytest

from app.core.errors import Unavailable
from app.core.states import MOVES, Desired, Status
from app.store import db, keys, leases
from app.store.db import transaction
from tests.services import scratch_database
from tests.settings import settings
from tests.store.conftest import finalizing, paused, queued, running


def refused(statement: str, *params: object) -> str:
    with pytest.raises(psycopg.Error) as caught, transaction() as conn:
        conn.execute(statement, params)
    return str(caught.value)


def test_the_table_of_moves_is_the_one_of_the_code(database):
    with transaction() as conn:
        found = {(row["a"], row["b"]) for row in conn.execute("select a, b from moves")}
    assert found == {(str(a), str(b)) for a, b in MOVES}


@pytest.mark.parametrize(("column", "kind"), [("status", Status), ("desired", Desired)])
def test_a_check_knows_every_word_of_the_enum(database, column, kind):
    with transaction() as conn:
        row = conn.execute(
            "select pg_get_constraintdef(oid) as text from pg_constraint where conname = %s", (f"jobs_{column}_check",)
        ).fetchone()
    assert row is not None
    assert all(f"'{word}'" in row["text"] for word in kind)
    assert row["text"].count("::text") == len(kind) + 1 or row["text"].count("'") == 2 * len(kind)


def test_a_move_outside_the_table_is_refused(new_job):
    message = refused("update jobs set status = 'finalizing' where id = %s", new_job.id)
    assert "cannot move from validating_files to finalizing" in message


def test_a_falling_attempt_is_refused(new_job):
    held = running(new_job)
    assert "cannot fall" in refused("update jobs set attempt = 0 where id = %s", held.id)


def test_an_ended_job_never_moves_again(new_job):
    with transaction() as conn:
        conn.execute(
            "update jobs set status = 'cancelled', desired = 'cancel', finished_at = now() where id = %s", (new_job.id,)
        )
    assert "cannot move" in refused("update jobs set status = 'queued', finished_at = null where id = %s", new_job.id)


@pytest.mark.parametrize(
    ("prepare", "change", "constraint"),
    [
        (running, "lease_owner = null, lease_until = null", "running_holds_a_lease"),
        (running, "lease_until = null", "lease_is_whole"),
        (queued, "lease_owner = 'w', lease_until = now()", "waiting_holds_no_lease"),
        (queued, "finished_at = now()", "ended_has_time"),
        (queued, "desired = 'cancel'", "wish_has_a_reader"),
        (paused, "desired = 'run'", "paused_is_wished"),
        (finalizing, "desired = 'pause'", "pause_only_of_training"),
        (paused, "woken_at = now()", "woken_is_waiting"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(new_job, prepare, change, constraint):
    job = prepare(new_job)
    assert constraint in refused(f"update jobs set {change} where id = %s", job.id)


@pytest.mark.parametrize("change", ["update job_events set message = 'x'", "delete from job_events"])
def test_the_log_is_append_only(new_job, change):
    assert "append-only" in refused(change)


def updates(conn: db.Connection[db.Row]) -> tuple[int, int]:
    row = conn.execute(
        "select pg_stat_get_xact_tuples_updated('jobs'::regclass) as updated, "
        "pg_stat_get_xact_tuples_hot_updated('jobs'::regclass) as hot"
    ).fetchone()
    assert row is not None
    return row["updated"], row["hot"]


def test_heartbeats_touch_no_index(new_job):
    held = running(new_job)
    with transaction() as conn:
        before = updates(conn)
        leases.renew(conn, held, lease_seconds=60, progress={"step": 1})
        after = updates(conn)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


def test_a_database_without_a_schema_is_said_to_be_one(postgres_url, tmp_path):
    with (
        scratch_database(postgres_url) as url,
        settings(database_url=url, redis_url="redis://127.0.0.1:1", storage_url=str(tmp_path)),
        pytest.raises(Unavailable, match=r"app\.store\.migrate"),
        transaction() as conn,
    ):
        keys.listed(conn, None)
