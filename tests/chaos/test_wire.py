"""The wire hands on what Redis is told and answers, and tampers with messages alone, and only while it is told to."""

import pytest
from redis import Redis, RedisError

from tests.chaos.wire import Wire

QUEUE = "tuneyard-test:train"


@pytest.fixture
def broker(redis_url):
    with Redis.from_url(redis_url) as broker:
        broker.delete(QUEUE, "elsewhere")
        yield broker
        broker.delete(QUEUE, "elsewhere")


@pytest.fixture
def wire(broker):
    with Wire(broker.connection_pool.connection_kwargs["port"], {QUEUE.encode()}) as wire:
        yield wire


@pytest.fixture
def client(broker, wire):
    options = {**broker.connection_pool.connection_kwargs, "port": wire.port}
    with Redis(**{name: options[name] for name in ("host", "port", "db", "password") if name in options}) as client:
        yield client


def test_what_is_written_through_the_wire_is_what_is_read(client):
    content = bytes(range(256)) * 1000
    client.lpush(QUEUE, content)
    assert client.brpop([QUEUE], timeout=5) == (QUEUE.encode(), content)


def test_every_second_message_is_dropped_and_the_others_are_doubled(client, wire):
    wire.tampering = True
    for number in range(4):
        client.lpush(QUEUE, f"m{number}")
    wire.tampering = False
    client.lpush(QUEUE, "m4")
    assert client.lrange(QUEUE, 0, -1) == [b"m4", b"m2", b"m2", b"m0", b"m0"]
    assert (wire.seen, wire.doubled) == (4, {b"m0", b"m2"})


def test_other_lists_are_left_alone(client, wire):
    wire.tampering = True
    client.lpush("elsewhere", "a", "b")
    assert client.lrange("elsewhere", 0, -1) == [b"b", b"a"]


def test_a_server_that_refuses_is_no_silence():
    with Wire(1, ()) as wire, Redis(port=wire.port, retry=None) as client, pytest.raises(RedisError):
        client.ping()
