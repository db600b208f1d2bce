"""Secrets lie sealed in their table, open in their own place alone, and end with their job."""

import pytest

from app.core.errors import WrongState
from app.core.states import Outcome
from app.store import secrets
from app.store.db import transaction
from tests.settings import settings
from tests.store.conftest import PROJECT, claimed, finished, made

KIND = "wandb_api_key"
SECRET = "a key of another service"


@pytest.fixture(scope="module")
def database(database, database_url, tmp_path_factory):
    wanted = {"database_url": database_url, "redis_url": "redis://127.0.0.1:1", "storage_url": "/nowhere"}
    with settings(**wanted, secret_key="new, old") as chosen:
        yield chosen


@pytest.fixture
def job(key_id):
    with transaction() as conn:
        conn.execute("truncate secrets")
    return made(key_id)


def keep(job, secret=SECRET):
    with transaction() as conn:
        secrets.keep(conn, PROJECT, KIND, job.id, secret=secret)


def find(owner_id, project_id=PROJECT):
    with transaction() as conn:
        return secrets.find(conn, project_id, KIND, owner_id)


def change(statement, *params):
    with transaction() as conn:
        conn.execute(statement, params)


def rows():
    with transaction() as conn:
        return list(conn.execute("select * from secrets"))


def under(secret_key, database_url):
    wanted = {"database_url": database_url, "redis_url": "redis://127.0.0.1:1", "storage_url": "/nowhere"}
    return settings(**wanted, secret_key=secret_key)


def test_a_secret_is_found_as_it_was_given_and_the_table_does_not_show_it(job):
    keep(job, "schlüssel " + SECRET)
    assert find(job.id) == "schlüssel " + SECRET
    [row] = rows()
    assert SECRET not in repr(row)
    assert SECRET.encode() not in bytes(row["sealed"])


def test_equal_secrets_do_not_look_alike(job, key_id):
    other = made(key_id)
    keep(job)
    keep(other)
    one, two = (bytes(row["sealed"]) for row in rows())
    assert one[9:] != two[9:]


@pytest.mark.parametrize("column", ["project_id", "kind", "owner_id"])
def test_a_row_that_was_moved_cannot_be_opened(job, key_id, column):
    keep(job)
    change("insert into projects (id, org_id) select 'thief', org_id from projects on conflict do nothing")
    moved = {"project_id": "thief", "kind": "other", "owner_id": made(key_id).id}[column]
    change(f"update secrets set {column} = %s", moved)
    [row] = rows()
    with transaction() as conn, pytest.raises(WrongState, match="moved, or changed") as refused:
        secrets.find(conn, row["project_id"], row["kind"], row["owner_id"])
    assert SECRET not in repr(refused.value)


def test_another_projects_secret_is_not_found(job):
    keep(job)
    assert find(job.id, "thief") is None


def test_a_changed_byte_is_noticed(job):
    keep(job)
    change("update secrets set sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)")
    with pytest.raises(WrongState, match="moved, or changed"):
        find(job.id)


def test_the_first_key_seals_and_all_keys_open(job, database_url):
    with under("old", database_url):
        keep(job)
    assert find(job.id) == SECRET
    with under("new", database_url), pytest.raises(WrongState, match="SECRET_KEY does not hold"):
        find(job.id)
    with under("newer,new,old", database_url):
        assert find(job.id) == SECRET


def test_a_server_without_a_key_keeps_no_secrets(job, database_url):
    with under("", database_url), pytest.raises(WrongState, match="SECRET_KEY is missing"):
        keep(job)
    assert rows() == []


def test_a_secret_stays_while_its_job_goes_on_and_ends_with_it(job, key_id):
    other = made(key_id)
    keep(job)
    keep(other)
    held = claimed(job)
    for _ in range(2):
        with transaction() as conn:
            secrets.drop_ended(conn)
        left = {row["owner_id"] for row in rows()}
        if held is not None:
            assert left == {job.id, other.id}
            finished(held, Outcome.FAILED, error={"message": "no"})
            held = None
    assert left == {other.id}
