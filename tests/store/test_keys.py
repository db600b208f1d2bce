"""API keys in the database: hashed, found by their secret, revocable, bound to one project."""

import pytest

from app.core import names
from app.core.errors import Unknown
from app.store import keys
from app.store.db import transaction


@pytest.fixture
def secret(database) -> str:
    return names.api_key()


def made(secret: str, **options):
    wanted = {"project_id": "default", "org_id": "default", "name": "n", "scopes": ["read"], "strict": False}
    with transaction() as conn:
        return keys.create(conn, secret, **{**wanted, **options})


def found(secret: str):
    with transaction() as conn:
        return keys.with_secret(conn, secret)


def test_a_key_is_found_by_its_secret_alone(secret):
    key = made(secret)
    assert found(secret) == key
    assert found(secret[:-1]) is None
    assert found(key.id) is None
    assert found("") is None


def test_neither_the_secret_nor_more_than_its_prefix_is_stored(secret):
    key = made(secret)
    with transaction() as conn:
        row = conn.execute("select k::text as whole from api_keys k where id = %s", (key.id,)).fetchone()
    assert secret not in row["whole"]
    assert key.prefix == secret[:7]


def test_a_revoked_key_is_not_found_and_keeps_its_first_end(secret):
    key = made(secret)
    with transaction() as conn:
        first = keys.revoke(conn, key.id)
        again = keys.revoke(conn, key.id)
    assert found(secret) is None
    assert again.revoked_at == first.revoked_at is not None


def test_revoking_what_was_never_there_is_an_error(secret):
    with transaction() as conn, pytest.raises(Unknown):
        keys.revoke(conn, "key_none")


def test_adopting_the_operators_key_twice_changes_nothing(secret):
    with transaction() as conn:
        first = keys.adopt(conn, secret)
        assert keys.adopt(conn, secret).id == first.id
    assert first.scopes == ("read", "write", "owner")
    assert first.project_id == "default"


def test_an_operators_key_that_was_revoked_stays_revoked_at_the_next_release(secret):
    with transaction() as conn:
        first = keys.adopt(conn, secret)
        keys.revoke(conn, first.id)
        assert keys.adopt(conn, secret).id == first.id
    assert found(secret) is None


def test_a_project_of_another_organization_gets_no_key(secret):
    made(secret)
    with pytest.raises(Unknown):
        made(names.api_key(), org_id="another")


def test_use_is_noted_at_most_once_a_minute(secret):
    key = made(secret)
    with transaction() as conn:
        keys.used(conn, key.id)
    first = found(secret).last_used_at
    with transaction() as conn:
        keys.used(conn, key.id)
    assert found(secret).last_used_at == first is not None


def test_the_keys_of_a_project_are_listed_oldest_first(secret):
    project = f"p{secret[-8:]}"
    made_keys = [made(names.api_key(), project_id=project, name=str(n)) for n in range(3)]
    with transaction() as conn:
        assert [key.id for key in keys.listed(conn, project)] == [key.id for key in made_keys]
        assert {key.id for key in made_keys} <= {key.id for key in keys.listed(conn, None)}
