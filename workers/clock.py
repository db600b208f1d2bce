"""`python -m workers.clock`: every few seconds, wake what sleeps, take back what was lost, and tidy up.

Any number of copies may run: each round is made of statements that do nothing when another did them. Storage may be
slow or away for minutes, so tidying has a thread of its own, and no job waits for it.
"""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from app import logs, queue
from app.blobs import StorageError, storage
from app.config import Settings, require
from app.core.errors import JobFailed, Unavailable
from app.store import checkpoints, files, leases, models, reports, secrets, uploads, windows
from app.store.db import transaction
from workers.finalization import link_published
from workers.reports import failure
from workers.sweep import Sweep

NOT_MADE = failure(
    JobFailed("The files could not be looked at: the worker was lost three times in a row.", code="worker_lost")
)

log = logging.getLogger("workers.clock")


def tick(settings: Settings) -> None:
    """One round."""
    take_back(settings)
    if settings.preempt:
        preempt()
    refill(settings)


def tidy(sweep: Sweep) -> None:
    """One round of all that touches storage."""
    link_published()
    purge()
    sweep.round()


def take_back(settings: Settings) -> None:
    """Take back jobs whose workers fell silent."""
    lost = True
    while lost:
        with transaction() as conn:
            taken = leases.take_back(conn, retry_seconds=settings.retry_seconds)
        for job in taken:
            log.warning("taken back from a lost worker, job is %s", job.status, extra={"job_id": job.id})
        lost = len(taken) == leases.TAKEN_BACK_AT_A_TIME


def preempt() -> None:
    """Let running jobs make way for more urgent ones of their organization."""
    with transaction() as conn:
        stopped = windows.preempt(conn)
    for job_id in stopped:
        log.info("asked to make way for more urgent work", extra={"job_id": job_id})


def refill(settings: Settings) -> None:
    """Forget messages that nobody took, and offer waiting jobs to the workers."""
    with transaction() as conn:
        waiting = windows.waiting(conn)
    for status, name in waiting:
        in_broker = queue.length(status, name)
        with transaction() as conn:
            forgotten = windows.forget(conn, status, name, seconds=settings.forget_seconds, in_broker=in_broker)
        if forgotten:
            log.warning("%d unclaimed messages of %s will be sent again", forgotten, name)
        queue.dispatch(status, name)


def purge() -> None:
    """Remove bytes that no row needs any more: files and models that are gone, resume points of ended jobs."""
    purge_uploads()
    with transaction() as conn:
        reports.give_up(conn, NOT_MADE)
        reports.forget(conn)
        files.expire(conn)
        secrets.drop_ended(conn)
        dropped = checkpoints.unneeded(conn, checkpoints.drop_ended(conn))
        deleted_files = files.purgeable(conn)
        withdrawn_models = models.withdrawn(conn)
        deleted_models = models.purgeable(conn)
    for checkpoint in dropped:
        storage().delete_tree(checkpoint.path)
    for file in deleted_files:
        storage().delete(file.path)
        with transaction() as conn:
            files.purged(conn, file.id)
    for model in withdrawn_models:
        storage().delete_tree(f"models/{model.project_id}/{model.name}")
        with transaction() as conn:
            models.unlink(conn, model.name)
    for model in deleted_models:
        storage().delete_tree(f"models/{model.project_id}/{model.name}")
        storage().delete_tree(model.path)
        with transaction() as conn:
            models.purged(conn, model.name)


def purge_uploads() -> None:
    """Remove the parts of uploads that have become files, were cancelled, or expired."""
    with transaction() as conn:
        uploads.expire(conn)
        parts = uploads.purgeable(conn)
    for part in parts:
        storage().delete(part.path)
        with transaction() as conn:
            uploads.purged(conn, part)


def run(round_: Callable[[], None], ended: threading.Event, *, seconds: float) -> None:
    """Rounds until `ended`; a round that found Postgres or storage away is followed by the next."""
    while not ended.is_set():
        try:
            round_()
        except (Unavailable, StorageError, OSError) as error:
            log.warning("round failed: %s", error)
        ended.wait(seconds)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = require("database_url", "redis_url", "storage_url")
    logs.configure(settings.log_level)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    log.info("the clock runs every %s s", settings.clock_seconds)
    sweep = Sweep()
    with ThreadPoolExecutor(1, "tidy") as threads:
        tidying = threads.submit(run, lambda: tidy(sweep), ended, seconds=settings.clock_seconds)
        tidying.add_done_callback(lambda _: ended.set())  # a clock that is half dead had better end
        try:
            run(lambda: tick(settings), ended, seconds=settings.clock_seconds)
        finally:
            ended.set()
    tidying.result()


if __name__ == "__main__":
    main()
