"""Keys that a process keeps in memory: read once, and anew as soon as anything may have changed."""

import asyncio
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from app.config import settings
from app.core import names
from app.core.job import Key
from app.store import keys, known_keys
from app.store.db import session, transaction
from app.store.known_keys import KnownKeys
from tests.relay import Relay
from tests.services import eventually

KEY_DATA, NOTIFICATION = b"K", b"A"
"""What Postgres' messages begin with that name a process of it: a connection's own, and the one that notifies."""


class Reader:
    """Knows keys, reads others from Postgres, and counts how often."""

    def __init__(self, known: KnownKeys) -> None:
        self.reads = 0
        self._known = known

    def find(self, secret: str, overtaken: Callable[[], None] = lambda: None) -> Key | None:
        """The key of a secret; `overtaken` is called between its reading and its return."""

        def read(secret: str) -> Key | None:
            self.reads += 1
            with transaction() as conn:
                found = keys.with_secret(conn, secret)
            overtaken()
            return found

        return self._known.find(secret, read)

    def knows(self, secret: str) -> bool:
        """Whether the second of two questions is answered without a read."""
        self.find(secret)
        before = self.reads
        return self.find(secret) is not None and self.reads == before


class Pooler(Relay):
    """Passes on what a connection's own statements cause, and not what others say, as a pooler of transactions does."""

    kept_back = 0

    async def _back(self, server: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        ours = 0
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                kind, size = struct.unpack("!cI", await server.readexactly(5))
                body = await server.readexactly(size - 4)
                [number] = struct.unpack_from("!I", body) if kind in (KEY_DATA, NOTIFICATION) else [0]
                ours = number if kind == KEY_DATA else ours
                if kind == NOTIFICATION and number != ours:
                    self.kept_back += 1
                else:
                    answers.write(struct.pack("!cI", kind, size) + body)
                    await answers.drain()


def known_by(relay: Relay) -> KnownKeys:
    """What hears of changes through a relay, in the clear."""
    url = urlsplit(settings().database_url)
    where = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{relay.port}"
    return KnownKeys(url._replace(netloc=where, query="sslmode=disable&gssencmode=disable").geturl())


@pytest.fixture
def postgres_port(database, monkeypatch) -> int:
    """Where Postgres is; changes are asked for more often than in production."""
    monkeypatch.setattr(known_keys, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(known_keys, "TRUST_SECONDS", 0.6)
    return urlsplit(settings().database_url).port or 5432


@pytest.fixture
def relay(postgres_port) -> Iterator[Relay]:
    with Relay(postgres_port) as relay:
        yield relay


@pytest.fixture
def reader(relay) -> Iterator[Reader]:
    known = known_by(relay)
    yield Reader(known)
    known.end()


def made() -> tuple[str, Key]:
    secret = names.api_key()
    with transaction() as conn:
        key = keys.create(
            conn, secret, project_id="known", org_id="known", name="n", scopes=["read", "write"], strict=False
        )
    return secret, key


def change(statement: str, key: Key) -> None:
    with transaction() as conn:
        conn.execute("insert into orgs (id) values ('known-2') on conflict do nothing")
        conn.execute("insert into projects (id, org_id) values ('known-2', 'known') on conflict do nothing")
        conn.execute(statement, {"id": key.id})


def test_a_key_is_read_once(reader):
    secret, key = made()
    eventually(lambda: reader.knows(secret))
    assert reader.find(secret) == key


def test_a_key_is_read_again_after_a_while_whatever_is_heard(reader, monkeypatch):
    monkeypatch.setattr(known_keys, "KEPT_SECONDS", 0.0)
    other, _ = made()
    secret, _ = made()
    reader.find(secret)
    monkeypatch.setattr(known_keys, "KEPT_SECONDS", 30.0)
    eventually(lambda: reader.knows(other))
    monkeypatch.setattr(known_keys, "KEPT_SECONDS", 0.0)
    assert not reader.knows(secret)


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
        "truncate api_keys cascade",
    ],
)
def test_what_a_change_made_of_a_key_is_known_soon(reader, statement):
    secret, key = made()
    eventually(lambda: reader.knows(secret))
    change(statement, key)
    eventually(lambda: reader.find(secret) != key, seconds=10)
    change("update projects set org_id = 'known' where id = 'known'", key)
    change("delete from api_keys where hash = '\\x00'", key)


def test_the_note_of_a_keys_last_use_is_no_change(database):
    _, key = made()
    with session() as ears:
        ears.execute(f"listen {known_keys.CHANNEL}")
        with transaction() as conn:
            keys.used(conn, key.id)
            conn.execute("select pg_notify(%s, 'end')", (known_keys.CHANNEL,))
        heard = next(said for said in ears.notifies() if not said.payload.startswith(known_keys.CALL))
    assert heard.payload == "end"


def test_a_key_that_was_unknown_is_found_once_it_is_made(reader):
    other, _ = made()
    secret = names.api_key()
    eventually(lambda: reader.knows(other))
    assert reader.find(secret) is None
    with transaction() as conn:
        keys.create(conn, secret, project_id="known", org_id="known", name="n", scopes=["read"], strict=False)
    assert reader.find(secret) is not None


def test_a_key_that_changes_while_it_is_read_is_not_kept(reader):
    secret, key = made()
    other, _ = made()
    eventually(lambda: reader.knows(other))

    def revoked_meanwhile() -> None:
        change("update api_keys set revoked_at = clock_timestamp() where id = %(id)s", key)
        before = reader.reads
        eventually(lambda: reader.find(other) is not None and reader.reads > before)  # the change was heard

    assert reader.find(secret, revoked_meanwhile) == key
    assert reader.find(secret) is None


def test_no_key_is_known_while_changes_cannot_be_heard_and_all_that_was_missed_is_made_good(reader, relay):
    secret, key = made()
    eventually(lambda: reader.knows(secret))
    relay.freeze()
    change("update api_keys set strict_status = true where id = %(id)s", key)
    eventually(lambda: not reader.knows(secret), seconds=10)
    found = reader.find(secret)
    assert found is not None
    assert found.strict_status
    relay.thaw()
    eventually(lambda: reader.knows(secret))


def test_no_key_is_known_while_the_connection_is_cut_off_and_what_changed_meanwhile_is_known_behind_it(reader, relay):
    secret, key = made()
    eventually(lambda: reader.knows(secret))
    relay.cut()
    eventually(lambda: not reader.knows(secret), seconds=10)
    change("update api_keys set scopes = '{read}' where id = %(id)s", key)
    relay.mend()
    eventually(lambda: reader.knows(secret))
    assert reader.find(secret).scopes == ("read",)


def test_what_is_read_while_a_connection_is_being_made_is_not_kept(reader, relay):
    secret, key = made()
    other, _ = made()
    eventually(lambda: reader.knows(secret))
    relay.freeze()
    relay.cut()
    relay.mend()
    eventually(lambda: relay.connections)
    assert not reader.knows(secret)
    change("update api_keys set scopes = '{read}' where id = %(id)s", key)
    relay.thaw()
    eventually(lambda: reader.knows(other))
    assert reader.find(secret).scopes == ("read",)


def test_a_connection_that_hears_only_itself_is_never_trusted(postgres_port):
    secret, _ = made()
    with Pooler(postgres_port) as pooler:
        known = known_by(pooler)
        reader = Reader(known)
        eventually(lambda: pooler.kept_back >= 3)
        assert not reader.knows(secret)
        known.end()


def test_a_schema_that_tells_of_no_change_is_never_trusted(reader, caplog):
    secret, _ = made()
    eventually(lambda: reader.knows(secret))
    with transaction() as conn:
        conn.execute(f"alter function {known_keys.TRIGGERED} rename to tell_of_nothing")
    try:
        with transaction() as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where query like 'listen %' and datname = current_database()"
            )
        eventually(lambda: "tell_of_keys" in caplog.text)
        assert not reader.knows(secret)
    finally:
        with transaction() as conn:
            conn.execute(f"alter function tell_of_nothing rename to {known_keys.TRIGGERED}")
    eventually(lambda: reader.knows(secret))
