"""Statements that are sent and waited for in one call: they must do what a cursor of psycopg's own does."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from app.config import require
from app.core.errors import Unavailable
from app.store.connections import fetch
from app.store.db import autocommit, session, transaction
from tests.services import eventually

ADD = "select %(a)s::int + %(b)s::int as sum"
MANY_KINDS = """
    select %(text)s::text as text, %(number)s::int as int, %(number)s::bigint as bigint, 1.5::float8 as float,
           2.25::numeric as numeric, true as yes, null::text as nothing,
           1.1::real as real, 'jobs'::regclass as class, %(json)s::jsonb as jsonb, '[1]'::json as json,
           timestamptz '2026-11-25 12:00:00.123456+02' as time, interval '1.5 s' as interval, %(list)s::text[] as list,
           '\\x00ff'::bytea as bytes, 'jobs'::name as name, '{1,2}'::int[] as ints, %(text)s like '100 %%' as matches
"""
PREPARED = "select count(*) as n from pg_prepared_statements where statement like %s"
WAITS = "select from pg_stat_activity where query like 'select pg_advisory_lock%' and wait_event_type = 'Lock'"
VALUES = {"text": "100 % ä", "number": 7, "json": Jsonb({"a": [1, None, "ä"]}), "list": ["a", ""]}


@pytest.fixture
def conn(database):
    with session() as conn:
        yield conn


def test_a_row_is_the_same_whichever_way_it_is_read(conn):
    with psycopg.connect(require().database_url, row_factory=dict_row) as plain:
        expected = plain.execute(MANY_KINDS, VALUES).fetchone()
    assert fetch(conn, MANY_KINDS, VALUES) == [expected]
    assert conn.execute(MANY_KINDS, VALUES).fetchone() == expected
    assert conn.execute(MANY_KINDS, VALUES, prepare=False).fetchone() == expected


def test_a_statement_is_prepared_once_and_stays_so_over_a_rollback(conn):
    for _ in range(9):  # after five times psycopg would prepare it in its own way, and forget it with all else
        conn.execute("select 1")
    for _ in range(3):
        assert fetch(conn, ADD, {"a": 1, "b": 2}) == [{"sum": 3}]
        with conn.transaction(force_rollback=True):
            assert conn.execute(ADD, {"a": 1, "b": 2}).fetchone() == {"sum": 3}
    assert conn.execute(PREPARED, ("%::int + %",)).fetchone() == {"n": 1}


def test_a_statement_whose_columns_got_other_types_fails_once_and_is_prepared_anew(conn):
    conn.execute("create temporary table measured as select 1::int as n")
    ask = "select n from measured where n < %(most)s"
    assert fetch(conn, ask, {"most": 2}) == [{"n": 1}]
    conn.execute("alter table measured alter n type text")
    conn.execute("alter table measured alter n type float8 using n::float8")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        fetch(conn, ask, {"most": 2})
    assert fetch(conn, ask, {"most": 2}) == [{"n": 1.0}]


def test_a_result_is_let_go_of_once_it_is_read(conn):
    fetch(conn, ADD, {"a": 1, "b": 2})
    assert conn.adapting.pgresult is None


def test_many_rows_are_written_as_psycopg_does_it(conn):
    conn.execute("create temporary table pairs (a int, b int)")
    with conn.cursor() as cursor:
        cursor.executemany("insert into pairs values (%s, %s)", [(1, 2), (3, 4)])
    assert conn.execute("select sum(a + b) as sum from pairs").fetchone() == {"sum": 10}


def test_percent_signs_are_read_as_psycopg_reads_them(conn):
    text = "select '%%(a)s' as literal, 7 %% %(a)s::int as rest, %(a)s::int as again"
    expected = [{"literal": "%(a)s", "rest": 1, "again": 3}]
    assert fetch(conn, text, {"a": 3}) == conn.execute(text, {"a": 3}).fetchall() == expected


def test_what_differs_in_its_text_is_not_kept_prepared(conn):
    conn.execute("select %s::int as asked_once", (1,), prepare=False)
    assert conn.execute(PREPARED, ("%asked_once%",)).fetchone() == {"n": 0}


@pytest.mark.parametrize("values", [(1, 2), (40_000, 2), (2**40, 2), (None, 2)])
def test_a_parameter_takes_values_of_any_type(conn, values):
    text = "select %(a)s::bigint + %(b)s as sum"
    a, b = values
    assert fetch(conn, text, {"a": a, "b": b}) == [{"sum": None if a is None else a + b}]


def test_an_error_is_what_it_would_be_and_the_connection_goes_on(conn):
    for ask in (lambda: fetch(conn, ADD, {"a": "one", "b": 2}), lambda: conn.execute(ADD, {"a": "one", "b": 2})):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="one"):
            ask()
    assert fetch(conn, ADD, {"a": 1, "b": 2}) == [{"sum": 3}]


def twice_the_same(conn) -> None:
    with conn.transaction():
        for _ in range(2):
            fetch(conn, "insert into orgs (id) values (%(id)s) returning id", {"id": "doubled"})


def test_an_error_in_a_transaction_undoes_it_and_no_more(conn):
    with pytest.raises(psycopg.errors.UniqueViolation):
        twice_the_same(conn)
    assert fetch(conn, "select id from orgs where id = %(id)s", {"id": "doubled"}) == []


def test_rows_of_one_statement_are_read_while_others_are_asked(conn):
    numbers = conn.execute("select n from generate_series(1, %s) n", (3,))
    seen = [(row["n"], fetch(conn, ADD, {"a": row["n"], "b": 1})[0]["sum"]) for row in numbers]
    assert seen == [(1, 2), (2, 3), (3, 4)]


def end_of(conn) -> None:
    """End a connection from outside, and wait until it has ended."""
    pid = conn.info.backend_pid
    with session() as other:
        other.execute("select pg_terminate_backend(%s)", (pid,))
        eventually(lambda: other.execute("select from pg_stat_activity where pid = %s", (pid,)).rowcount == 0)


def end_by_itself(conn) -> None:
    fetch(conn, "select pg_terminate_backend(pg_backend_pid()) where %(yes)s", {"yes": True})


def asked_when_lost(lose) -> None:
    with autocommit() as conn:
        lose(conn)
        fetch(conn, ADD, {"a": 1, "b": 2})


@pytest.mark.parametrize("lose", [end_of, end_by_itself])
def test_a_connection_that_is_lost_in_use_is_an_unavailable_database_and_replaced(database, lose):
    with pytest.raises(Unavailable):
        asked_when_lost(lose)
    with transaction() as conn:
        assert fetch(conn, ADD, {"a": 1, "b": 2}) == [{"sum": 3}]


def test_other_threads_go_on_while_one_waits_for_postgres(conn):
    lock = "select pg_advisory_lock(%(key)s) is null as taken"
    fetch(conn, lock, {"key": 7})

    def waits() -> list[dict[str, object]]:
        with session() as waiting:
            return fetch(waiting, lock, {"key": 7})

    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(waits)
        eventually(lambda: conn.execute(WAITS).rowcount == 1)
        conn.execute("select pg_advisory_unlock(%s)", (7,))
        assert found.result() == [{"taken": False}]
