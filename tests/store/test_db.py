"""Connections: what is committed when, and what is left of them when the server leaves."""

import psycopg
import pytest

from app.config import require
from app.core.errors import Unavailable
from app.store.db import autocommit, transaction
from tests.services import eventually

MARK = "insert into orgs (id) values ('marked')"
FIND = "select id from orgs where id = 'marked'"


@pytest.fixture
def unmarked(database):
    with transaction() as conn:
        conn.execute("delete from orgs where id = 'marked'")


def mark_and_fail(connection) -> None:
    with connection() as conn:
        conn.execute(MARK)
        raise ZeroDivisionError


def marked() -> bool:
    with transaction() as conn:
        return conn.execute(FIND).fetchone() is not None


def test_what_a_transaction_wrote_is_gone_when_it_fails(unmarked):
    with pytest.raises(ZeroDivisionError):
        mark_and_fail(transaction)
    assert not marked()


def test_a_statement_is_committed_by_itself(unmarked):
    with pytest.raises(ZeroDivisionError):
        mark_and_fail(autocommit)
    assert marked()


def test_a_transaction_behind_a_statement_is_one_again(unmarked):
    with autocommit() as conn:
        conn.execute("select 1")
    with pytest.raises(ZeroDivisionError):
        mark_and_fail(transaction)
    assert not marked()


@pytest.mark.parametrize("use", [autocommit, transaction])
def test_connections_that_the_server_has_closed_are_replaced_before_they_are_used(database, use):
    with use() as conn:
        pid = conn.info.backend_pid
    with psycopg.connect(require().database_url, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", (pid,))
        eventually(lambda: other.execute("select 1 from pg_stat_activity where pid = %s", (pid,)).fetchone() is None)
    with use() as conn:
        row = conn.execute("select 1 as one").fetchone()
    assert row == {"one": 1}


def test_a_connection_that_is_lost_in_use_is_an_unavailable_database(database):
    with pytest.raises(Unavailable), autocommit() as conn:
        conn.execute("select pg_terminate_backend(pg_backend_pid())")
