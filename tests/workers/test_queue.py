"""Waking, against a Redis server of fakeredis: what is sent, how far ahead, and what a broken broker costs."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator

import pytest
import redis
from fakeredis import TcpFakeServer

from app import queue
from app.config import require
from app.core.job import Job
from app.core.states import Status
from app.store.db import transaction
from app.store.migrate import migrate
from tests.settings import settings
from tests.store.conftest import claimed, made, now, queued


@pytest.fixture(scope="module")
def broker() -> Iterator[redis.Redis]:
    class Server(TcpFakeServer):
        disable_nagle_algorithm = True

    server = Server(("127.0.0.1", 0), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.server_address[1]
    with redis.Redis(host="127.0.0.1", port=port) as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def database(database_url, broker, tmp_path_factory) -> Iterator[None]:
    port = broker.connection_pool.connection_kwargs["port"]
    with settings(
        database_url=database_url,
        redis_url=f"redis://127.0.0.1:{port}/0",
        storage_url=str(tmp_path_factory.mktemp("queue")),
        dispatch_ahead="2",
    ):
        migrate()
        yield


@pytest.fixture
def sent(broker):
    broker.flushall()

    def read(name: str = "validate") -> list[tuple[str, list[str]]]:
        found = []
        for raw in reversed(broker.lrange(f"tuneyard:{name}", 0, -1)):
            message = json.loads(raw)
            body = json.loads(base64.b64decode(message["body"]))
            found.append((message["headers"]["task"], body[0]))
        return found

    return read


def test_a_woken_job_is_one_message_with_its_id_alone(new_job, sent):
    queue.wake(new_job)
    assert sent() == [("validate", [new_job.id])]


def test_waking_twice_sends_once(new_job, sent):
    queue.wake(new_job)
    queue.wake(new_job)
    assert len(sent()) == 1


def test_redis_never_holds_more_than_the_window(key_id, sent):
    for _ in range(5):
        queue.wake(made(key_id))
    assert len(sent()) == 2


def test_a_claim_lets_the_next_one_in(key_id, sent):
    jobs = [made(key_id) for _ in range(3)]
    queue.wake(jobs[0])
    claimed(jobs[0])
    queue.dispatch(Status.VALIDATING_FILES, "train")
    assert [arguments for _, arguments in sent()] == [[job.id] for job in jobs]


def test_a_claim_that_leaves_half_of_the_window_lets_the_next_ones_in(key_id, sent):
    jobs = [made(key_id) for _ in range(4)]
    queue.wake(jobs[0])
    claimed(jobs[0])
    queue.refill(Status.VALIDATING_FILES, "train")
    assert [arguments for _, arguments in sent()] == [[job.id] for job in jobs[:3]]


def test_a_window_of_which_more_than_half_is_still_offered_is_not_refilled(key_id, sent):
    jobs = [made(key_id) for _ in range(6)]
    urls = {name: str(getattr(require(), name)) for name in ("database_url", "redis_url", "storage_url")}
    lengths = []
    with settings(**urls, dispatch_ahead="4"):
        queue.wake(jobs[0])
        for job in jobs[:2]:
            claimed(job)
            queue.refill(Status.VALIDATING_FILES, "train")
            lengths.append(len(sent()))
    assert lengths == [4, 6]


def test_an_older_job_is_sent_at_once_although_the_window_is_full(key_id, sent):
    older, *others = [queued(made(key_id)) for _ in range(3)]
    with transaction() as conn:
        conn.execute("update jobs set not_before = clock_timestamp() + interval '1 hour' where id = %s", (older.id,))
    queue.wake(others[0])
    with transaction() as conn:
        conn.execute("update jobs set not_before = clock_timestamp() where id = %s", (older.id,))
    queue.wake(older)
    assert [arguments for _, arguments in sent("train")][:3] == [[others[0].id], [others[1].id], [older.id]]


def test_no_order_is_decided_for_a_job_behind_others_while_the_window_has_enough(key_id, sent):
    jobs = [queued(made(key_id)) for _ in range(6)]
    urls = {name: str(getattr(require(), name)) for name in ("database_url", "redis_url", "storage_url")}
    with settings(**urls, dispatch_ahead="4"):
        queue.wake(jobs[0])
        claimed(now(jobs[0]))
        queue.wake(jobs[5])
        assert len(sent("train")) == 4
        queue.wake(jobs[4])  # as the first that is not offered it may be next
        assert len(sent("train")) == 5


def test_the_length_of_the_queue_is_what_was_sent(new_job, sent):
    queue.wake(new_job)
    assert queue.length(Status.VALIDATING_FILES, "train") == 1


def test_a_job_that_nobody_serves_now_is_not_sent(new_job, sent):
    held: Job = claimed(new_job)
    queue.wake(held)
    assert sent() == []


def test_a_dead_broker_costs_no_job_and_no_error(new_job, database_url, tmp_path):
    with settings(database_url=database_url, redis_url="redis://127.0.0.1:1", storage_url=str(tmp_path)):
        queue.wake(new_job)
        assert queue.length(Status.VALIDATING_FILES, "train") is None
        assert now(new_job).status is Status.VALIDATING_FILES


def test_a_missing_broker_url_is_an_error_and_not_a_silence(new_job, database_url, tmp_path):
    with (
        settings(database_url=database_url, storage_url=str(tmp_path)),
        pytest.raises(ValueError, match="REDIS_URL is not set"),
    ):
        queue.wake(new_job)


def test_a_revoke_of_a_waiting_job_does_not_fail_without_workers(new_job, sent):
    queue.wake(new_job)
    queue.revoke(now(new_job))
    with transaction() as conn:
        row = conn.execute("select task_id from jobs where id = %s", (new_job.id,)).fetchone()
    assert row is not None
    assert row["task_id"]


@pytest.mark.parametrize(("asked", "checked"), [("required", ssl.CERT_REQUIRED), ("none", ssl.CERT_NONE)])
def test_both_clients_of_a_tls_server_check_its_certificate_as_asked(asked, checked):
    with settings(redis_url="rediss://127.0.0.1:1/0", redis_ssl_cert_reqs=asked):
        assert queue._redis().connection_pool.make_connection().cert_reqs == checked
        sender = queue._sender().connection_for_write()
        assert sender.ssl == {"ssl_cert_reqs": asked}


def test_a_server_without_tls_is_asked_for_no_certificate():
    with settings(redis_url="redis://127.0.0.1:1/0", redis_ssl_cert_reqs="none") as plain:
        assert queue.tls_options(plain) == {}
        assert not queue._sender().connection_for_write().ssl
        assert not isinstance(queue._redis().connection_pool.make_connection(), redis.SSLConnection)
