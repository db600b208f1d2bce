"""The Celery app: its settings, its tasks, and what a worker does when it starts, beats and stops."""

import time
from typing import Any

from celery import Celery, Task
from celery.signals import heartbeat_sent, setup_logging, task_postrun, worker_process_init, worker_shutting_down

from app import logs, queue
from app.config import require
from app.core.states import TASKS, Status
from app.queue import celery_settings
from workers import finalization, reports, scratch, supervision, training, validation
from workers.backends import memory

WORKER_SOCKET_TIMEOUT_SECONDS = 10.0
ANNOUNCE_SECONDS = 30.0

settings = require("redis_url")
app = Celery("tuneyard")
app.conf.update(celery_settings(settings, socket_timeout=WORKER_SOCKET_TIMEOUT_SECONDS))


@app.task(name="validate", bind=True)
def validate(task: Task, job_id: str) -> None:
    """Check the files of a new job."""
    validation.validate(job_id, task_id=task.request.id)


@app.task(name="report")
def report(report_id: str) -> None:
    """Look at files for which there is no job yet."""
    reports.make(report_id)


@app.task(name="train", bind=True)
def train(task: Task, job_id: str) -> None:
    """Train a queued job."""
    training.train(job_id, task_id=task.request.id)


@app.task(name="finalize", bind=True)
def finalize(task: Task, job_id: str) -> None:
    """Publish a trained job."""
    finalization.finalize(job_id, task_id=task.request.id)


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    logs.configure(settings.log_level)


@worker_process_init.connect
def _on_child_start(**_: Any) -> None:
    scratch.sweep()
    _prepare()


@task_postrun.connect
def _on_task_end(**_: Any) -> None:
    _prepare()


def _prepare() -> None:
    """Keep a standby trainer in the pool children of workers that train."""
    if serves_training() and not supervision.shutting_down.value:
        training.backend().prepare()


class Presence:
    """This worker, as those see it who estimate what a job needs and when it starts."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}
        self._told_at = -ANNOUNCE_SECONDS

    def tell(self, name: str) -> None:
        """Announce the worker, at most every half minute."""
        if not serves_training() or time.monotonic() - self._told_at < ANNOUNCE_SECONDS:
            return
        self._told_at = time.monotonic()
        if not self._facts:
            gpu = memory.largest_gpu()
            self._facts = {
                "queues": sorted(app.amqp.queues.consume_from),
                "slots": settings.trainer_concurrency,
                "device": "gpu" if gpu else "cpu",
                "memory_bytes": gpu or memory.of_machine(),
            }
        queue.announce(name, self._facts)


presence = Presence()


@heartbeat_sent.connect
def _on_heartbeat(sender: Any, **_: Any) -> None:
    presence.tell(sender.eventer.hostname)


def serves_training() -> bool:
    """Whether this worker consumes a training queue."""
    return bool(set(app.amqp.queues.consume_from) - {TASKS[Status.VALIDATING_FILES], TASKS[Status.FINALIZING]})


@worker_shutting_down.connect
def _on_shutdown(**_: Any) -> None:
    supervision.shutting_down.value = 1
