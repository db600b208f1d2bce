"""The supervisor as a person runs it, on a Procfile of small programs."""

import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import psutil
import psycopg
import pytest

from app.embedded.processes import StackError
from app.embedded.stack import ROOT, Stack, as_shipped
from tests.services import eventually, is_gone, scratch_directory

WEB = "web: python -m tests.embedded.dummy_web"
WORKER = "worker: sleep 600"


SMALL = f"{WEB}\n{WORKER}\nflower: sleep 600\n"


@pytest.fixture
def small(directory):
    """A Procfile: a web process that answers, a worker that waits."""
    path = directory / "Procfile"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def used():
    """A directory that a stack has run in before, which saves the tests of `up` the making of a cluster."""
    with scratch_directory() as path:
        (path / "Procfile").write_text(SMALL)
        with stack(path, path / "Procfile"):
            pass
        yield path


def stack(directory, procfile, **options):
    settings = as_shipped() | options.pop("settings", {})
    return Stack(directory / "data", settings=settings, procfile_path=procfile, durable=False, **options)


@contextmanager
def up(directory, **environment):
    """`python -m app.embedded up` once it is ready: the process, and what it printed."""
    command = [sys.executable, "-m", "app.embedded", "up", "--port", "0"]
    command += ["--data-dir", directory / "data", "--procfile", directory / "Procfile"]
    environment = os.environ | as_shipped() | environment
    with (directory / "terminal").open("w") as terminal:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=terminal, text=True
        )
    with process:
        lines = iter(process.stdout.readline, "")
        printed = ""
        for line in lines:
            printed += line
            if "ready at" in line:
                break
        try:
            yield process, printed
        finally:
            process.terminate()


def family(process):
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def test_inside_the_context_the_service_answers_and_afterwards_nothing_runs(directory, small):
    with stack(directory, small) as running:
        with urllib.request.urlopen(running.base_url.replace("/v1", "/readyz")) as answer:
            assert answer.status == 200
        pids = [pid for name in ("postgres", "redis", "web", "worker") for pid in running.pids(name)]
        assert len(pids) > 4
    assert all(is_gone(pid) for pid in pids)


def test_processes_get_the_settings_of_the_stack(directory, small):
    with stack(directory, small, settings={"LEASE_SECONDS": "7"}) as running:
        seen = psutil.Process(running.pids("worker")[0]).environ()
        assert seen["DATABASE_URL"].startswith("postgresql://tuneyard:")
        assert seen["REDIS_URL"].startswith("redis://:")
        assert seen["STORAGE_URL"] == str(directory / "data" / "storage")
        assert (seen["HOST"], seen["PORT"], seen["LEASE_SECONDS"]) == ("127.0.0.1", str(running.port), "7")
        assert running.environment.items() <= seen.items()


def test_only_the_release_step_sees_the_api_key(directory, small):
    small.write_text(f"release: test $API_KEY = chosen\n{WORKER}\n")
    with stack(directory, small, api_key="chosen") as running:
        eventually(lambda: running.pids("worker"))
        assert "API_KEY" not in psutil.Process(running.pids("worker")[0]).environ()


def test_keys_that_were_not_given_are_made_once_and_kept_private(directory, small):
    with stack(directory, small) as first:
        pass
    with stack(directory, small) as second:
        assert second.api_key == first.api_key
        assert second.environment["SECRET_KEY"] == first.environment["SECRET_KEY"] != ""
    for name in ("api-key", "secret-key"):
        assert stat.S_IMODE((directory / "data" / name).stat().st_mode) == 0o600


def test_flower_is_left_out_until_it_has_credentials(directory, small):
    with stack(directory, small, settings={"FLOWER_BASIC_AUTH": ""}) as without, pytest.raises(KeyError):
        without.pids("flower")
    with stack(directory, small, settings={"FLOWER_BASIC_AUTH": "user:password"}) as running:
        assert running.pids("flower")


def test_servers_that_are_given_are_used(directory, small, postgres_url, redis_url):
    with stack(directory, small, settings={"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}) as running:
        seen = psutil.Process(running.pids("worker")[0]).environ()
        assert (seen["DATABASE_URL"], seen["REDIS_URL"]) == (postgres_url, redis_url)
        with pytest.raises(KeyError):
            running.pids("postgres")


def test_a_failed_release_step_stops_the_start_with_its_last_words(directory, small):
    small.write_text(f"release: sh -c 'echo no such table >&2; exit 3'\n{WEB}\n")
    before = psutil.Process().children()
    with pytest.raises(StackError, match=r"status 3(.|\n)*no such table"), stack(directory, small):
        pass
    assert psutil.Process().children() == before


def test_a_web_process_that_cannot_start_is_an_error_with_its_last_words(directory, small):
    small.write_text("web: sh -c 'echo no module named app.api; exit 1'\n")
    with pytest.raises(StackError, match=r"no module named app\.api"), stack(directory, small):
        pass


def test_a_port_that_is_taken_is_a_clear_error(directory, small):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StackError, match="set another PORT"):
        stack(directory, small, port=taken.getsockname()[1]).__enter__()


def test_a_second_stack_on_the_same_data_is_refused(directory, small):
    with (
        stack(directory, small),
        pytest.raises(StackError, match="another stack runs on"),
        stack(directory, small),
    ):
        pass


def test_up_says_once_where_it_is_and_what_the_key_is(used):
    kept = used / "data" / "api-key"
    kept.unlink()
    with up(used, API_KEY="") as (_, printed):
        assert kept.read_text() in printed
    with up(used, API_KEY="") as (_, printed):
        assert kept.read_text() not in printed
    assert printed.count("Tuneyard ready at http://127.0.0.1:") == 1


def test_up_does_not_show_a_key_that_it_was_given(used):
    with up(used, API_KEY="ty-a-key-of-ones-own") as (_, printed):
        assert "key" not in printed


def test_up_says_how_another_shell_gets_at_the_running_stack(used):
    with up(used, FLOWER_BASIC_AUTH="user:it's", MODELS_FILE="it's $HOME.toml") as (process, printed):
        line = next(line for line in printed.splitlines() if "set -a" in line)
        shell = line.partition(": ")[2] + "; printenv DATABASE_URL REDIS_URL STORAGE_URL MODELS_FILE"
        told = subprocess.run(["/bin/sh", "-c", shell], env={"PATH": os.defpath}, capture_output=True, text=True)
        database, broker, storage, models = told.stdout.splitlines()
        with psycopg.connect(database) as conn:
            assert conn.execute("select 1").fetchone() == (1,)
        assert (broker[:9], storage) == ("redis://:", str(used / "data" / "storage"))
        assert models == "it's $HOME.toml"
        assert stat.S_IMODE((used / "data" / "env").stat().st_mode) == 0o600
        assert "Flower at http://127.0.0.1:" in printed
        process.terminate()
        process.wait()
    assert not (used / "data" / "env").exists()


def test_a_stack_as_shipped_takes_nothing_from_the_shell(directory, small, monkeypatch):
    for name in as_shipped():
        monkeypatch.setenv(name, "of-the-shell")
    with stack(directory, small) as running:
        seen = psutil.Process(running.pids("worker")[0]).environ()
        assert not [name for name, value in seen.items() if value == "of-the-shell"]
        assert running.pids("postgres")
        assert running.pids("redis")


def test_up_refused_prints_one_line(used):
    with up(used):
        command = [sys.executable, "-m", "app.embedded", "up", "--port", "0", "--data-dir", used / "data"]
        environment = os.environ | as_shipped()
        refused = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("tuneyard: another stack runs on")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_after_a_signal(used, number):
    with up(used) as (process, _):
        pids = family(process)
        process.send_signal(number)
        assert process.wait() == 0
    assert len(pids) > 4
    assert all(is_gone(pid) for pid in pids)


def test_nothing_is_left_after_a_kill_and_the_data_is_there_at_the_next_start(used):
    with up(used) as (process, _):
        pids = family(process)
        settings = [psutil.Process(pid).environ() for pid in pids]
        url = next(each["DATABASE_URL"] for each in settings if "DATABASE_URL" in each)
        with psycopg.connect(url) as conn:
            conn.execute("create table kept as select 42 as answer")
        process.kill()
        eventually(lambda: all(is_gone(pid) for pid in pids))
    with (
        stack(used, used / "Procfile") as running,
        psycopg.connect(running.environment["DATABASE_URL"]) as conn,
    ):
        assert conn.execute("select answer from kept").fetchone() == (42,)
