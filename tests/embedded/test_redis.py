import stat
import sys

import pytest
import redis as client

from app.embedded import redis
from app.embedded.processes import free_port
from tests.embedded.conftest import listening
from tests.services import running


@pytest.fixture(params=["first choice", "fallback"])
def server(directory, request, monkeypatch):
    if request.param == "fallback":
        monkeypatch.setattr(redis, "server_command", lambda **_: redis.FALLBACK)
    return redis.prepare(directory, port=free_port())


def test_a_server_on_the_path_is_preferred_to_the_packaged_one():
    assert redis.server_command(on_path="/usr/bin/redis-server", packaged="/wheel/redis-server") == (
        "/usr/bin/redis-server",
    )


def test_the_packaged_server_is_preferred_to_the_imitation():
    assert redis.server_command(on_path=None, packaged="/wheel/redis-server") == ("/wheel/redis-server",)


def test_the_imitation_is_the_last_resort():
    assert redis.server_command(on_path=None, packaged=None) == redis.FALLBACK


@pytest.mark.skipif(sys.platform != "linux", reason="the wheel is for Linux")
def test_without_a_path_the_server_is_the_packaged_one(directory, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    server = redis.prepare(directory, port=free_port())
    with running(server, directory), client.Redis.from_url(server.url) as connection:
        assert "site-packages" in server.command[0]
        assert connection.info("server")["redis_mode"] == "standalone"


def test_the_fallback_is_announced_in_one_line(directory, monkeypatch, capsys):
    monkeypatch.setattr(redis, "server_command", lambda **_: redis.FALLBACK)
    redis.prepare(directory, port=free_port())
    assert capsys.readouterr().err.count("\n") == 1


def test_it_keeps_lists_as_a_queue_does(server, directory):
    with running(server, directory), client.Redis.from_url(server.url) as connection:
        connection.lpush("queue", "first", "second")
        assert connection.brpop("queue", timeout=5) == (b"queue", b"first")


def test_it_runs_scripts_as_a_queue_needs(server, directory):
    with running(server, directory), client.Redis.from_url(server.url) as connection:
        pop = connection.register_script("return redis.call('rpop', KEYS[1])")
        connection.lpush("queue", "first")
        assert pop(keys=["queue"]) == b"first"


@pytest.mark.parametrize("credentials", ["", ":wrong@"])
def test_nobody_gets_in_without_the_password(server, directory, credentials):
    url = f"redis://{credentials}127.0.0.1:{server.port}/0"
    with (
        running(server, directory),
        client.Redis.from_url(url, retry=None) as connection,
        pytest.raises((client.AuthenticationError, client.ConnectionError)),
    ):
        connection.set("key", "value")


def test_it_listens_on_loopback_alone(server, directory):
    with running(server, directory) as keeper:
        assert listening(keeper.pid) == {"127.0.0.1"}


def test_the_password_is_in_no_command_line_and_readable_by_its_owner_alone(server):
    assert server.password not in " ".join(server.program.command)
    assert stat.S_IMODE(server.configuration.stat().st_mode) == 0o600
