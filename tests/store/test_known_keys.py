"""Keys that a process keeps in memory: read once, and anew as soon as anything may have changed."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.core import names
from app.core.job import Key
from app.store import keys, known_keys
from app.store.db import transaction
from tests.services import eventually

LISTENER = "select pid from pg_stat_activity where query like %s and datname = current_database()"


class Reader:
    """Reads keys from Postgres, and counts how often."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, secret: str) -> Key | None:
        self.reads += 1
        with transaction() as conn:
            return keys.with_secret(conn, secret)


@pytest.fixture
def reader(database, monkeypatch) -> Iterator[Reader]:
    monkeypatch.setattr(known_keys, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(known_keys, "TRUST_SECONDS", 0.6)
    known_keys.close()
    eventually(lambda: not listeners())
    yield Reader()
    known_keys.close()


def made() -> tuple[str, Key]:
    secret = names.api_key()
    with transaction() as conn:
        key = keys.create(
            conn, secret, project_id="known", org_id="known", name="n", scopes=["read", "write"], strict=False
        )
    return secret, key


def find(secret: str, reader: Callable[[str], Key | None]) -> Key | None:
    return known_keys.known().find(secret, reader)


def is_known(secret: str, reader: Reader) -> bool:
    """Whether a second question in a row is answered without a read."""
    find(secret, reader)
    before = reader.reads
    return find(secret, reader) is not None and reader.reads == before


def change(statement: str, key: Key) -> None:
    with transaction() as conn:
        conn.execute("insert into orgs (id) values ('known-2') on conflict do nothing")
        conn.execute("insert into projects (id, org_id) values ('known-2', 'known') on conflict do nothing")
        conn.execute(statement, {"id": key.id})


def test_a_key_is_read_once(reader):
    secret, key = made()
    eventually(lambda: is_known(secret, reader))
    assert find(secret, reader) == key


@pytest.mark.parametrize(
    "statement",
    [
        "update api_keys set revoked_at = clock_timestamp() where id = %(id)s",
        "update api_keys set scopes = '{read}' where id = %(id)s",
        "update api_keys set strict_status = true where id = %(id)s",
        "update api_keys set project_id = 'known-2' where id = %(id)s",
        "update api_keys set hash = '\\x00' where id = %(id)s",
        "update projects set org_id = 'known-2' where id = (select project_id from api_keys where id = %(id)s)",
        "delete from api_keys where id = %(id)s",
    ],
)
def test_what_a_change_made_of_a_key_is_known_soon(reader, statement):
    secret, key = made()
    eventually(lambda: is_known(secret, reader))
    change(statement, key)
    eventually(lambda: find(secret, reader) != key, seconds=10)
    change("update projects set org_id = 'known' where id = 'known'", key)
    change("delete from api_keys where hash = '\\x00'", key)


def test_the_note_of_a_keys_last_use_is_no_change(reader):
    secret, key = made()
    other, _ = made()
    eventually(lambda: is_known(secret, reader) and is_known(other, reader))
    with transaction() as conn:
        keys.used(conn, key.id)
    before = reader.reads
    change("update api_keys set strict_status = true where id = %(id)s", key)  # comes behind the note
    eventually(lambda: find(secret, reader).strict_status)
    assert reader.reads == before + 1


def test_a_key_that_was_unknown_is_found_once_it_is_made(reader):
    secret = names.api_key()
    assert find(secret, reader) is None
    with transaction() as conn:
        keys.create(conn, secret, project_id="known", org_id="known", name="n", scopes=["read"], strict=False)
    assert find(secret, reader) is not None


def test_a_key_that_changes_while_it_is_read_is_not_kept(reader):
    secret, key = made()
    other, _ = made()
    eventually(lambda: is_known(other, reader))

    def overtaken(secret: str) -> Key | None:
        found = reader(secret)
        change("update api_keys set revoked_at = clock_timestamp() where id = %(id)s", key)
        before = reader.reads
        eventually(lambda: find(other, reader) is not None and reader.reads > before)  # the change was heard
        return found

    assert find(secret, overtaken) == key
    assert find(secret, reader) is None


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def listeners() -> list[int]:
    """The processes of Postgres behind the connections that listen."""
    with transaction() as conn:
        return [row["pid"] for row in conn.execute(LISTENER, ("select pg_notify%",))]


def test_no_key_is_known_while_changes_cannot_be_heard_and_all_that_was_missed_is_made_good(reader):
    secret, key = made()
    eventually(lambda: is_known(secret, reader))
    [pid] = listeners()
    with frozen(pid):
        eventually(lambda: not is_known(secret, reader), seconds=10)
        change("update api_keys set strict_status = true where id = %(id)s", key)
        found = find(secret, reader)
        assert found is not None
        assert found.strict_status
    eventually(lambda: is_known(secret, reader))


def test_what_changes_while_a_connection_is_cut_off_is_known_as_soon_as_it_is_made_again(reader):
    secret, key = made()
    eventually(lambda: is_known(secret, reader))
    [first] = listeners()
    with transaction() as conn:
        conn.execute("select pg_terminate_backend(%s)", (first,))
        conn.execute("update api_keys set scopes = '{read}' where id = %s", (key.id,))
    eventually(lambda: listeners() not in ([], [first]) and is_known(secret, reader))
    assert find(secret, reader).scopes == ("read",)
