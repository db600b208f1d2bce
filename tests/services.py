"""The real PostgreSQL and Redis that the tests talk to: those of the environment, else embedded ones of our own."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from app.embedded import postgres, redis
from app.embedded.logs import Log
from app.embedded.processes import Keeper, await_ready, free_port, stop_all


def eventually(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait until the condition holds; the limit is only there so that a failing test ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether no such process runs; one that waits to be reaped runs no more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that is removed afterwards; others may pass through it, as PostgreSQL's own user must."""
    directory = Path(tempfile.mkdtemp(prefix="tuneyard-test-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def running(server: postgres.Postgres | redis.Redis, directory: Path) -> Iterator[Keeper]:
    keeper = Keeper(server.program, Log(directory / "logs" / f"{server.program.name}.log", watched=False))
    keeper.start()
    try:
        await_ready(keeper, server.ready, seconds=60)
        yield keeper
    finally:
        stop_all([keeper], grace_seconds=30)


@contextmanager
def scratch_database(server_url: str) -> Iterator[str]:
    """The URL of a new database on the server, dropped afterwards."""
    name = f"tuneyard_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f"create database {name}")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server on which the tests may create databases: DATABASE_URL, else an embedded one."""
    if "DATABASE_URL" in os.environ:
        yield os.environ["DATABASE_URL"]
        return
    with scratch_directory() as directory:
        server = postgres.prepare(directory, port=free_port(), durable=False)
        with running(server, directory):
            yield server.url


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database of this session's own."""
    with scratch_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """REDIS_URL, else an embedded server of this session's own."""
    if "REDIS_URL" in os.environ:
        yield os.environ["REDIS_URL"]
        return
    with scratch_directory() as directory:
        server = redis.prepare(directory, port=free_port())
        with running(server, directory):
            yield server.url
