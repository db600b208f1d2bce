import os
import signal
import stat
import subprocess

import psycopg
import pytest

from app.embedded import postgres, unprivileged
from app.embedded.processes import free_port
from tests.embedded.conftest import listening
from tests.services import eventually, is_gone, running

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another user")


@pytest.fixture
def server(directory):
    return postgres.prepare(directory, port=free_port(), durable=False)


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_the_programs_come_from_the_package_and_not_from_the_path(directory, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    server = postgres.prepare(directory, port=free_port(), durable=False)
    with running(server, directory):
        assert value(server.url, "select current_setting('server_version_num')::int / 10000") == 18
    assert server.binaries.is_relative_to(postgres.package_binaries().parents[2])


def test_nobody_gets_in_without_the_password(server, directory):
    with running(server, directory):
        for url in (server.url.replace(server.password, "wrong"), server.url.replace(f":{server.password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url)


def test_it_listens_on_loopback_alone(server, directory):
    with running(server, directory) as keeper:
        assert listening(keeper.pid) == {"127.0.0.1"}
        assert value(server.url, "select current_setting('unix_socket_directories')") == ""


def test_the_password_is_readable_by_its_owner_alone(server, directory):
    assert stat.S_IMODE((directory / "postgres" / "password").stat().st_mode) == 0o600


def test_a_stack_that_must_not_lose_data_syncs_it(directory):
    server = postgres.prepare(directory, port=free_port(), durable=True)
    with running(server, directory):
        assert value(server.url, "select current_setting('fsync')") == "on"


def test_committed_rows_outlive_a_kill_and_the_address_stays(server, directory):
    with running(server, directory) as keeper:
        with psycopg.connect(server.url) as conn:
            conn.execute("create table kept as select 42 as answer")
        killed = keeper.pid
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: keeper.pid not in (None, killed) and server.ready())
        assert value(server.url, "select answer from kept") == 42


def test_rows_outlive_a_stop_and_a_start_at_another_port(server, directory):
    with running(server, directory), psycopg.connect(server.url) as conn:
        conn.execute("create table kept as select 42 as answer")
    again = postgres.prepare(directory, port=free_port(), durable=False)
    with running(again, directory):
        assert value(again.url, "select answer from kept") == 42


def test_a_process_id_that_now_means_another_process_is_forgotten(server, directory):
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (server.cluster / "postmaster.pid").write_text(f"{bystander.pid}\n{server.cluster}\n")
        again = postgres.prepare(directory, port=free_port(), durable=False)
        with running(again, directory):
            assert value(again.url, "select 1") == 1
        assert bystander.poll() is None
        bystander.kill()


def test_a_server_left_by_a_killed_stack_is_stopped_before_the_next(server, directory):
    with running(server, directory) as keeper:
        orphan = keeper.pid
        keeper._stopping.set()  # the stack that would start it again is dead
        postgres.prepare(directory, port=free_port(), durable=False)
        assert is_gone(orphan)


def test_an_interrupted_initdb_is_done_again(directory):
    (directory / "postgres" / "new" / "base").mkdir(parents=True)
    server = postgres.prepare(directory, port=free_port(), durable=False)
    with running(server, directory):
        assert value(server.url, "select 1") == 1


@AS_ROOT
def test_as_root_it_runs_as_another_user(server, directory):
    with running(server, directory) as keeper:
        assert os.stat(f"/proc/{keeper.pid}").st_uid == unprivileged.account("nobody").pw_uid


@AS_ROOT
def test_a_data_directory_and_a_checkout_behind_closed_doors_work_as_root(directory, monkeypatch):
    monkeypatch.setattr(unprivileged, "SHELTER", directory / "shelter")
    monkeypatch.setattr(postgres, "reachable", lambda path, user: False)
    closed = directory / "closed"
    (closed / "data").mkdir(mode=0o700, parents=True)
    closed.chmod(0o700)
    server = postgres.prepare(closed / "data", port=free_port(), durable=False)
    with running(server, directory):
        assert value(server.url, "select 1") == 1
    assert server.binaries.is_relative_to(directory / "shelter")
    assert postgres.prepare(closed / "data", port=free_port(), durable=False).cluster == server.cluster
