"""Many jobs: 10,000 that wait and 64 trainer slots, beside as many Celery tasks that do nothing.

The service is whole but for its trainer, which trains nothing. First its processes empty a queue of tasks that do
nothing, then they run the jobs, each of three stages. In the end other ones do so whose stages do nothing either, which
shows what is left for the work. It takes 5 to 10 minutes on two cores.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app import queue
from app.config import require
from app.core.job import Job
from app.core.states import Status
from app.embedded.processes import StackError
from app.store import events, jobs
from app.store.db import Connection, Row, transaction
from tests.bench import backlog, tables
from tests.bench.crowd import Size, crowd
from tests.bench.tables import at_least, at_most
from tests.bench.watch import Watch

SIZE = Size(jobs=10_000, trainers=4, slots=16, others=16)
BARE = replace(SIZE, jobs=3_000)
WARM_UP = 5  # jobs for each pool process
GOAL = 0.2
PAGE_GOAL = 1.3
REPEATS = 200
LEFT_SECONDS = 0.25
LIMIT_SECONDS = 1800.0


@dataclass(frozen=True)
class Pages:
    """Median milliseconds of a first page."""

    jobs: float
    events: float


@dataclass(frozen=True)
class Found:
    """What was seen of a crowd of jobs."""

    size: Size
    verdict: backlog.Verdict
    window: int
    most_offered: int
    longest_queue: int
    noops_per_second: float
    jobs_per_second: float
    dispatched: Sequence[float]
    empty: Pages
    full: Pages


def measure(size: Size, *, repeats: int = REPEATS) -> Found:
    """Let the jobs wait, then let the workers loose.

    Raises StackError when the workers do not start, or leave jobs undone.
    """
    with crowd(size) as workers:
        first = backlog.made(WARM_UP * size.processes)
        until_all_ended()
        noops = workers.noops_per_second(size.jobs)
        empty = _pages(first[0], repeats)
        made = backlog.made(size.jobs)
        backlog.count()
        full = _pages(first[0], repeats)
        with Watch(workers.broker, require()) as watch:
            workers.start_clock()
            seconds = until_all_ended()
        return Found(
            size=size,
            verdict=backlog.verdict([*first, *made]),
            window=require().dispatch_ahead,
            most_offered=watch.most_offered,
            longest_queue=watch.longest,
            noops_per_second=noops,
            jobs_per_second=size.jobs / seconds,
            dispatched=watch.dispatched,
            empty=empty,
            full=full,
        )


def bare(size: Size) -> float:
    """Jobs whose stages do nothing for each task that does nothing, per second. Raises StackError."""
    with crowd(size, "tests.bench.bare") as workers:
        backlog.made(WARM_UP * size.processes)
        until_all_ended()
        noops = workers.noops_per_second(size.jobs)
        backlog.made(size.jobs)
        workers.start_clock()
        return size.jobs / until_all_ended() / noops


def until_all_ended() -> float:
    """Offer the first jobs, and wait until there are none left; returns seconds.

    Raises StackError.
    """
    began = time.perf_counter()
    queue.dispatch(Status.VALIDATING_FILES, "train")
    while backlog.unfinished():
        if time.perf_counter() - began > LIMIT_SECONDS:
            raise StackError("jobs were left undone")
        time.sleep(LEFT_SECONDS)
    return time.perf_counter() - began


def _pages(job: Job, repeats: int) -> Pages:
    """The newest jobs of the project, and the events of one job."""
    return Pages(
        jobs=_median(lambda conn: jobs.page(conn, job.project_id, after=None, limit=20, metadata=None), repeats),
        events=_median(lambda conn: events.page(conn, job.id, after=None, limit=20), repeats),
    )


def _median(read: Callable[[Connection[Row]], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        with transaction() as conn:
            began = time.perf_counter()
            read(conn)
            seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def rows(found: Found) -> list[tables.Row]:
    """The figures beside their goals."""
    verdict, size = found.verdict, found.size
    p50, p99 = (1000 * statistics.quantiles(found.dispatched, n=100)[place - 1] for place in (50, 99))
    slots = f"{size.trainers * size.slots} trainer slots, {size.others} others"
    return [
        _none("jobs that did not succeed", verdict.lost),
        _none("jobs not claimed exactly once a stage", verdict.claimed_again),
        _none("jobs without exactly one terminal event", verdict.ended_otherwise),
        _none("jobs without exactly one model", verdict.without_their_model),
        tables.Row(
            "messages of one queue that Redis held at a time, void ones left out",
            str(found.most_offered),
            f"at most {found.window}",
            found.most_offered <= found.window,
            binding=True,
        ),
        tables.Row("the same with those that were void", str(found.longest_queue)),
        tables.Row(f"tasks that do nothing, {size.processes} processes", f"{found.noops_per_second:.0f} per second"),
        tables.Row(f"{size.jobs:,} jobs of three stages, {slots}", f"{found.jobs_per_second:.1f} per second"),
        at_least("jobs / tasks that do nothing", found.jobs_per_second / found.noops_per_second, GOAL, unit="times"),
        tables.Row("one dispatch meanwhile, with its messages", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"),
        _flat("first page of jobs", found.full.jobs, found.empty.jobs, size),
        _flat("first page of events", found.full.events, found.empty.events, size),
    ]


def _none(what: str, count: int) -> tables.Row:
    return tables.Row(what, str(count), "none", count == 0, binding=True)


def _flat(what: str, full: float, empty: float, size: Size) -> tables.Row:
    return at_most(
        f"{what}: {size.jobs:,} jobs waiting / none, {full:.2f} ms / {empty:.2f} ms",
        full / empty,
        PAGE_GOAL,
        unit="times",
    )


def run() -> list[tables.Row]:
    """Measure, and return the rows of the table. Raises StackError."""
    return [*rows(measure(SIZE)), tables.Row("the same with stages that do nothing", f"{bare(BARE):.2f} times")]
