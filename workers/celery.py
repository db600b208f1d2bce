"""The Celery app: its settings, its three tasks, and what a worker does when it starts and stops."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_postrun, worker_process_init, worker_shutting_down

from app import logs
from app.config import require
from app.queue import celery_settings
from workers import finalization, scratch, supervision, training, validation

WORKER_SOCKET_TIMEOUT_SECONDS = 10.0

settings = require("redis_url")
app = Celery("tuneyard")
app.conf.update(celery_settings(settings, socket_timeout=WORKER_SOCKET_TIMEOUT_SECONDS))


@app.task(name="validate")
def validate(job_id: str) -> None:
    """Check the files of a new job."""
    validation.validate(job_id)


@app.task(name="train")
def train(job_id: str) -> None:
    """Train a queued job."""
    training.train(job_id)


@app.task(name="finalize")
def finalize(job_id: str) -> None:
    """Publish a trained job."""
    finalization.finalize(job_id)


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


def serves_training() -> bool:
    """Whether this worker consumes a training queue."""
    return settings.train_queue in app.amqp.queues.consume_from


@worker_shutting_down.connect
def _on_shutdown(**_: Any) -> None:
    supervision.shutting_down.value = 1
