"""The API under load from another process: requests per second beside the same server's bare ping, and beside pgbench
that runs the same statements on the same PostgreSQL.
"""

import json
import statistics
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.core import names
from app.core.job import File, Key, NewEvent
from app.core.states import Status
from app.embedded import postgres, redis
from app.embedded.processes import free_port
from app.store import events, files, jobs, keys, leases
from app.store.db import autocommit, transaction
from app.store.migrate import migrate
from tests.bench import doors, statements
from tests.bench.load import Load, Request, generate
from tests.bench.tables import Row, at_least, at_most
from tests.dialects.server import Server, serving
from tests.services import running, scratch_directory
from tests.settings import settings
from tests.wire import DOORS, openai
from tests.wire.door import Door, filled

CLIENTS, SECONDS, ROUNDS = 8, 4.0, 3
WEB_CONCURRENCY, WEB_THREADS = 1, 8  # of several processes one may get all connections, and ratios mean nothing
PING, ROW, RETRIEVE, CREATE = "ping", "ping that reads a job's row", "retrieve", "create"
LIST, EVENTS = "list of 20", "events of 20"
RETRIEVE_GOAL, CREATE_GOAL, TAIL_GOAL = 0.6, 0.35, 20.0
OTHERS = ("portkey", "fireworks")
PROJECT = "default"
APP = "tests.bench.row_app"
JOBS = "/v1/fine_tuning/jobs"
MODEL = "tuneyard-tiny"
SPEC: dict[str, Any] = {
    "model": MODEL,
    "base": MODEL,
    "validation_file": None,
    "suffix": None,
    "seed": 1,
    "method": "supervised",
    "hyperparameters": {},
}


@dataclass(frozen=True)
class Subject:
    """A server with something in its database to ask for."""

    server: Server
    database_url: str
    database_log: Path
    key: str
    job_id: str
    file_id: str
    scratch: Path

    @property
    def new_job(self) -> str:
        return json.dumps({"model": MODEL, "training_file": self.file_id})

    def requests(self) -> dict[str, Request]:
        """What is measured."""
        return {
            PING: self._request("GET", "/healthz"),
            ROW: self._request("GET", f"/row/{self.job_id}"),
            RETRIEVE: self._request("GET", f"{JOBS}/{self.job_id}"),
            LIST: self._request("GET", f"{JOBS}?limit=20"),
            EVENTS: self._request("GET", f"{JOBS}/{self.job_id}/events?limit=20"),
            CREATE: self._request("POST", JOBS, self.new_job),
        }

    def retrieves(self) -> dict[str, Request]:
        """The retrieve as other doors than OpenAI's send it."""
        return {door.name: self._retrieve(door) for door in DOORS if door.name in OTHERS}

    def _request(self, method: str, path: str, body: str = "") -> Request:
        headers = filled(dict(openai.DOOR.headers), {"key": self.key})
        return Request(self.server.port, method, path, headers, CLIENTS, SECONDS, body)

    def _retrieve(self, door: Door) -> Request:
        given = {"key": self.key, "account": PROJECT, "job": self.job_id}
        asked = filled(door.example("retrieve")["request"], given)
        headers = filled(dict(door.headers), given) | asked.get("headers", {})
        return replace(self._request("GET", asked["path"]), headers=headers)


def run() -> list[Row]:
    """Measure on a stack of our own, each request in turns with the others, and return the rows of the table."""
    with _subject() as subject:
        loads: dict[str, list[Load]] = {name: [] for name in subject.requests()}
        databases: dict[str, list[float]] = {RETRIEVE: [], CREATE: []}
        scripts = {name: _script(subject, name) for name in databases}
        for _ in range(ROUNDS):
            for name, request in subject.requests().items():
                loads[name].append(generate(request))
            for name, script in scripts.items():
                databases[name].append(
                    statements.repeated(subject.database_url, script, subject.scratch, clients=CLIENTS, seconds=SECONDS)
                )
        beside = list(doors.rows(subject.requests()[RETRIEVE], subject.retrieves()))
    rates = {name: statistics.median(each) for name, each in databases.items()}
    return [*_load_rows(loads), *_ratios(loads, rates), *beside]


def _load_rows(loads: dict[str, list[Load]]) -> Iterator[Row]:
    for name, each in loads.items():
        per_second, p50, p99 = (
            statistics.median(getattr(load, what) for load in each) for what in ("per_second", "p50_ms", "p99_ms")
        )
        yield Row(f"{name}: requests per second", f"{per_second:,.0f}")
        yield at_most(f"{name}: p99 / p50, {p99:.1f} ms / {p50:.1f} ms", p99 / p50, TAIL_GOAL, unit="times")


def _ratios(loads: dict[str, list[Load]], databases: dict[str, float]) -> Iterator[Row]:
    rate = {name: statistics.median(load.per_second for load in each) for name, each in loads.items()}
    for name in (ROW, RETRIEVE, LIST, EVENTS):
        ratio = rate[name] / rate[PING]
        what = f"{name} / ping"
        yield (
            at_least(what, ratio, RETRIEVE_GOAL, unit="times") if name == RETRIEVE else Row(what, f"{ratio:.2f} times")
        )
    yield Row(f"{RETRIEVE} / {ROW}", f"{rate[RETRIEVE] / rate[ROW]:.2f} times")
    for name, per_second in databases.items():
        what, ratio = f"{name} / pgbench's {per_second:,.0f} per second", rate[name] / per_second
        yield at_least(what, ratio, CREATE_GOAL, unit="times") if name == CREATE else Row(what, f"{ratio:.2f} times")


@contextmanager
def _subject() -> Iterator[Subject]:
    with scratch_directory() as directory:
        database = postgres.prepare(directory, port=free_port(), durable=True)
        broker = redis.prepare(directory, port=free_port())
        with (
            running(database, directory),
            running(broker, directory),
            settings(database_url=database.url, redis_url=broker.url, storage_url=str(directory), org_max_waiting="0"),
        ):
            migrate()
            key, job_id, file_id = _fill()
            with serving(directory, workers=WEB_CONCURRENCY, threads=WEB_THREADS, app=APP) as server:
                log = directory / "logs" / f"{database.program.name}.log"
                yield Subject(server, database.url, log, key, job_id, file_id, directory)


def _fill() -> tuple[str, str, str]:
    """A key, a running job with a page of events, and a file: what the requests name."""
    secret = names.api_key()
    with transaction() as conn:
        key = keys.adopt(conn, secret)
        file = files.insert(conn, _file(key))
        for _ in range(20):
            job = jobs.insert(
                conn,
                names.job_id(),
                project_id=key.project_id,
                key_id=key.id,
                queue="train",
                spec=SPEC | {"training_file": file.id},
                metadata=None,
                idem_key=None,
                idem_hash="",
            )
        held = leases.claim(conn, job.id, ready=Status.VALIDATING_FILES, owner="bench", lease_seconds=3600)
        assert held is not None
        events.append(
            conn, held, [NewEvent(f"Step {n}/40: training loss=0.1", type="metrics") for n in range(40)], seq=0
        )
    with autocommit() as conn:
        conn.execute("analyze")  # as autovacuum does of tables that have grown
    return secret, job.id, file.id


def _file(key: Key) -> File:
    """A training file as far as the web looks at it: its row."""
    return File(
        id=names.file_id(),
        project_id=key.project_id,
        filename="train.jsonl",
        purpose="fine-tune",
        bytes=1,
        sha256="",
        path="files/none",
        created_at=datetime.now(UTC),
    )


def _script(subject: Subject, name: str) -> str:
    """The statements of one request as a script for pgbench; a job that is created gets a new id each time."""
    answered: list[bytes] = []
    log = subject.database_log
    said = statements.recorded(subject.database_url, log, lambda: answered.append(_asked(subject, name)))
    script = ";\n".join(said) + ";\n"
    if name != CREATE:
        return script
    made = json.loads(answered[0])["id"]
    return "\\set number random(1, 9000000000000)\n" + script.replace(made, "ftjob-:number")


def _asked(subject: Subject, name: str) -> bytes:
    asked = subject.requests()[name]
    request = urllib.request.Request(
        subject.server.url + asked.path, data=asked.body.encode() or None, method=asked.method, headers=asked.headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = answer.read()
    assert isinstance(found, bytes)
    return found
