"""Waking workers: the only sender of Celery messages. A message is a hint; losing one costs seconds, never a job."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from app.config import Settings, require
from app.core import catalogue
from app.core.errors import Unavailable
from app.core.job import Job
from app.core.states import TASKS, Status
from app.store import windows
from app.store.db import Connection, Row, autocommit, transaction

SEND_TIMEOUT_SECONDS = 2.0
PRESENT_SECONDS = 90

log = logging.getLogger(__name__)


def celery_settings(settings: Settings, *, socket_timeout: float) -> dict[str, Any]:
    """The Celery configuration that senders and workers share; `socket_timeout` in seconds."""
    known = catalogue.load(Path(settings.models_file)).queues()
    served = [name.strip() for name in settings.trainer_queues.split(",") if name.strip()]
    training = {settings.train_queue, *known, *served}
    queues = [TASKS[Status.VALIDATING_FILES], *sorted(training), TASKS[Status.FINALIZING]]
    return {
        "broker_url": settings.redis_url,
        "broker_use_ssl": tls_options(settings) or False,
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "task_reject_on_worker_lost": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_transport_options": {
            "socket_timeout": socket_timeout,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "global_keyprefix": settings.redis_prefix,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_max": 0.1},
        "worker_max_tasks_per_child": 1000,
        "task_create_missing_queues": False,
        "task_queues": [Queue(name, routing_key=name) for name in queues],
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
    }


def tls_options(settings: Settings) -> dict[str, str]:
    """How a client checks the certificate of a `rediss://` server; nothing for `redis://`."""
    if not settings.redis_url.startswith("rediss://"):
        return {}
    return {"ssl_cert_reqs": settings.redis_ssl_cert_reqs}


@cache
def _sender() -> Celery:
    sender = Celery("tuneyard-sender", set_as_current=False)
    sender.conf.update(celery_settings(require("redis_url"), socket_timeout=SEND_TIMEOUT_SECONDS))
    return sender


@cache
def _redis() -> redis.Redis:
    settings = require("redis_url")
    options: dict[str, Any] = {
        "socket_timeout": SEND_TIMEOUT_SECONDS,
        "socket_connect_timeout": SEND_TIMEOUT_SECONDS,
        **tls_options(settings),
    }
    return redis.Redis.from_url(settings.redis_url, **options)


def celery_queue(status: Status, queue: str) -> str:
    """The Celery queue that serves a status: jobs wait for training by their own queue, else one per task."""
    return queue if status is Status.QUEUED else TASKS[status]


def wake(job: Job) -> None:
    """Offer the jobs of this one's kind to the workers, in order, as far as the window has room. Never fails.

    Who trains first is decided anew for each job that may be it; the short stages are as good as in order without that.
    """
    if job.status in TASKS and _answered(lambda conn: _may_be_next(conn, job)):
        dispatch(job.status, job.queue)


def refill(status: Status, queue: str) -> None:
    """Dispatch after a claim, unless more than half of the window is still offered: the next claims will."""
    if _answered(lambda conn: _has_room(conn, status, queue)):
        dispatch(status, queue)


def _answered(question: Callable[[Connection[Row]], bool]) -> bool:
    """What Postgres says; no while it is away, since the clock does what is left undone."""
    try:
        with autocommit() as conn:
            return question(conn)
    except Unavailable as error:
        log.warning("not woken, left to the clock: %s", error.message)
        return False


def _may_be_next(conn: Connection[Row], job: Job) -> bool:
    decided_anew = job.status is Status.QUEUED and not windows.stands_behind(conn, job)
    return decided_anew or _has_room(conn, job.status, job.queue)


def _has_room(conn: Connection[Row], status: Status, queue: str) -> bool:
    return windows.offered(conn, status, queue) <= require().dispatch_ahead // 2


def dispatch(status: Status, queue: str) -> None:
    """Refill the window of a status and queue; what cannot be done now is left to the clock."""
    try:
        with transaction() as conn:
            chosen = require()
            woken = windows.dispatch(
                conn, status, queue, ahead=chosen.dispatch_ahead, max_running=chosen.org_max_running
            )
    except Unavailable as error:
        log.warning("not woken: %s", error.message)
        return
    for job in woken:
        if not _send(job):
            return  # each try may take seconds, and the clock will send the rest


def _send(job: Job) -> bool:
    queue = celery_queue(job.status, job.queue)
    try:
        _sender().send_task(TASKS[job.status], args=[job.id], task_id=job.task_id, queue=queue)
    except OperationalError as error:
        log.warning("broker down, left to the clock: %s", error, extra={"job_id": job.id})
        return False
    log.info("woken for %s", queue, extra={"job_id": job.id})
    return True


def send_report(report_id: str) -> None:
    """Tell a worker that validates to make a data report; best effort, since whoever waits for it asks again."""
    try:
        _sender().send_task("report", args=[report_id], queue=TASKS[Status.VALIDATING_FILES])
    except OperationalError as error:
        log.warning("report not asked for: %s", error)


def announce(trainer: str, facts: Mapping[str, Any]) -> None:
    """Note that a worker that trains is there, with what its machine has; Redis may forget it. Never fails."""
    name = require().redis_prefix + "trainers"
    try:
        _redis().hset(name, trainer, json.dumps({**facts, "seen": time.time()}))
        _redis().expire(name, PRESENT_SECONDS)
    except redis.RedisError as error:
        log.warning("not announced: %s", error)


def trainers() -> list[dict[str, Any]]:
    """What the workers that train now have said of themselves; none when Redis does not answer."""
    try:
        found: dict[Any, Any] = _redis().hgetall(require().redis_prefix + "trainers")
    except redis.RedisError:
        return []
    said = [json.loads(facts) for _, facts in sorted(found.items())]
    return [facts for facts in said if facts["seen"] > time.time() - PRESENT_SECONDS]


def revoke(job: Job) -> None:
    """Tell workers to drop the job's message if it still waits, and Flower to show it; best effort."""
    if job.task_id is None:
        return
    try:
        _sender().control.revoke(job.task_id)
    except OperationalError as error:
        log.warning("not revoked: %s", error, extra={"job_id": job.id})


def length(status: Status, queue: str) -> int | None:
    """Messages that wait in Redis for a status and queue; None when Redis does not answer."""
    try:
        found = _redis().llen(require().redis_prefix + celery_queue(status, queue))
    except redis.RedisError:
        return None
    assert isinstance(found, int)
    return found


def ping() -> None:
    """Ask Redis for an answer.

    Raises Unavailable when there is none.
    """
    try:
        _redis().ping()
    except redis.RedisError as error:
        raise Unavailable("The broker cannot be reached; please try again.") from error
