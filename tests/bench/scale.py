"""Many rows: pages of a million jobs and events beside those of a thousand, and a dispatch of 100,000 waiting jobs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.states import Status
from app.embedded import postgres
from app.embedded.processes import free_port
from app.store import events, jobs, keys, orgs, windows
from app.store.db import transaction
from app.store.migrate import migrate
from tests.bench.tables import Row, at_most
from tests.services import running, scratch_directory
from tests.settings import settings

FEW, MANY = 1_000, 1_000_000
WAITING = 100_000
ORGANIZATIONS = (2, 1_000)
REPEATS = 200
PAGE_GOAL = 1.3
DISPATCH_GOAL_MS = 50.0
AHEAD = 8

JOBS = """
    insert into jobs (id, project_id, org_id, key_id, queue, status, finished_at, idem_hash, spec, created_at, metadata)
    select 'ftjob-' || %(project)s || n, %(project)s, %(project)s, %(key)s, 'train', 'succeeded', clock_timestamp(),
           '', '{}', clock_timestamp() - n * interval '1 second', '{"team": "a"}'
      from generate_series(1, %(count)s::int) n
"""
EVENTS = """
    insert into job_events (job_id, attempt, seq, message) select %(job)s, 1, n, 'Step ' || n
      from generate_series(1, %(count)s::int) n
"""
QUEUED = """
    insert into jobs (id, project_id, org_id, queue, status, idem_hash, spec)
    select 'ftjob-w' || n, 'org-' || n %% %(orgs)s, 'org-' || n %% %(orgs)s, 'train', 'queued', '', '{}'
      from generate_series(1, %(count)s::int) n
"""


@dataclass(frozen=True)
class Timed:
    """Median milliseconds of a read on few and on many rows."""

    few: float
    many: float


def run() -> list[Row]:
    """Measure on a PostgreSQL of our own, and return the rows of the table."""
    with scratch_directory() as directory:
        server = postgres.prepare(directory, port=free_port(), durable=False)
        with (
            running(server, directory),
            settings(database_url=server.url, redis_url="redis://127.0.0.1:1", storage_url=str(directory)),
        ):
            migrate()
            return [*_pages(), *_dispatches()]


def _pages() -> list[Row]:
    for project, count in (("few", FEW), ("many", MANY)):
        _fill(project, count)
    timed = {
        "jobs": _timed(lambda project: lambda conn: jobs.page(conn, project, after=None, limit=20, metadata=None)),
        "jobs of one metadata pair": _timed(
            lambda project: lambda conn: jobs.page(conn, project, after=None, limit=20, metadata={"team": "a"})
        ),
        "events": _timed(lambda project: lambda conn: events.page(conn, f"ftjob-{project}1", after=None, limit=20)),
    }
    return [
        at_most(
            f"first page of {what}: {MANY:,} rows / {FEW:,} rows, {one.many:.2f} ms / {one.few:.2f} ms",
            one.many / one.few,
            PAGE_GOAL,
            unit="times",
        )
        for what, one in timed.items()
    ]


def _fill(project: str, count: int) -> None:
    with transaction() as conn:
        conn.execute("set local statement_timeout = 0")
        key = keys.create(conn, project, project_id=project, org_id=project, name="k", scopes=("read",), strict=False)
        conn.execute("alter table jobs disable trigger user")
        conn.execute(JOBS, {"project": project, "key": key.id, "count": count})
        conn.execute("alter table jobs enable trigger user")
        conn.execute(EVENTS, {"job": f"ftjob-{project}1", "count": count})
    _analyze()


def _analyze() -> None:
    with transaction() as conn:
        conn.execute("set local statement_timeout = 0")
        conn.execute("analyze jobs, job_events, orgs")


def _timed(read: Callable[[str], Callable[..., object]]) -> Timed:
    """The two sizes in turns, so that both see the same machine."""
    seconds: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(REPEATS):
        for project, spent in seconds.items():
            with transaction() as conn:
                began = time.perf_counter()
                read(project)(conn)
                spent.append(time.perf_counter() - began)
    return Timed(*(1000 * statistics.median(seconds[project]) for project in ("few", "many")))


def _dispatches() -> list[Row]:
    return [row for count in ORGANIZATIONS for row in _dispatch(count)]


def _dispatch(organizations: int) -> list[Row]:
    """One dispatch and one job's place, median of several, with the window emptied in between."""
    with transaction() as conn:
        conn.execute("set local statement_timeout = 0")
        conn.execute("truncate jobs, job_events cascade")
        for number in range(organizations):
            name = f"org-{number}"
            conn.execute("insert into orgs (id) values (%s) on conflict do nothing", (name,))
            conn.execute("insert into projects (id, org_id) values (%s, %s) on conflict do nothing", (name, name))
        conn.execute("alter table jobs disable trigger user")
        conn.execute(QUEUED, {"orgs": organizations, "count": WAITING})
        conn.execute("alter table jobs enable trigger user")
    _analyze()
    dispatched, placed = [], []
    for _ in range(20):
        with transaction() as conn:
            began = time.perf_counter()
            offered = windows.dispatch(conn, Status.QUEUED, "train", ahead=AHEAD)
            dispatched.append(time.perf_counter() - began)
            began = time.perf_counter()
            orgs.place(conn, offered[-1], max_running=0)
            placed.append(time.perf_counter() - began)
            conn.execute("update jobs set woken_at = null where woken_at is not null")
    what = f"{WAITING:,} waiting jobs of {organizations:,} organizations"
    return [
        at_most(f"one dispatch among {what}", 1000 * statistics.median(dispatched), DISPATCH_GOAL_MS, unit="ms"),
        Row(f"the place of one among {what}", f"{1000 * statistics.median(placed):.1f} ms"),
    ]
