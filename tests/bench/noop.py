"""What Celery itself costs: tasks that do nothing, through the broker settings of the service."""

import time

from celery import Celery
from kombu import Queue
from redis import Redis

from app.config import Settings

NAME = "noop"
QUEUE = Queue(NAME, routing_key=NAME)
LOOK_SECONDS = 0.005


def per_second(celery: Celery, broker: Redis, settings: Settings, *, count: int) -> float:
    """Tasks per second while all workers empty a queue that was filled beforehand."""
    with celery.connection_for_write() as connection, celery.amqp.Producer(connection) as producer:
        for _ in range(count):
            celery.send_task(NAME, queue=QUEUE, producer=producer)
    began = time.perf_counter()
    celery.control.add_consumer(NAME)
    while broker.llen(settings.redis_prefix + NAME):
        time.sleep(LOOK_SECONDS)
    seconds = time.perf_counter() - began
    celery.control.cancel_consumer(NAME, reply=True)
    return count / seconds
