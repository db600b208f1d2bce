"""A held job: heartbeats, orders, endings, and what a lost or stopped worker leaves behind."""

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.blobs import StorageError
from app.core.errors import JobFailed
from app.core.job import Job, NewEvent
from app.core.orders import Signal
from app.core.states import Outcome, Status
from app.logs import JsonFormatter
from app.store import jobs, leases
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import PROJECT, now, queued
from workers import scratch, supervision
from workers.supervision import Ending, Lease, Stopped, Surrendered, serve


def served(job: Job, stage: Callable[[Lease], Ending]) -> Job:
    serve(job.id, job.status, stage)
    return now(job)


def done(lease: Lease) -> Ending:
    return Ending(result={"seen": lease.job.attempt})


def raising(error: Exception) -> Callable[[Lease], Ending]:
    def stage(lease: Lease) -> Ending:
        raise error

    return stage


def test_a_stage_that_is_done_moves_the_job_on(new_job):
    ended = served(new_job, done)
    assert (ended.status, ended.result) == (Status.QUEUED, {"seen": 1})


def test_a_message_for_a_job_that_is_not_ready_is_dropped(new_job):
    serve(new_job.id, Status.FINALIZING, raising(AssertionError("must not run")))
    assert now(new_job).attempt == 0


def test_a_failed_stage_fails_the_job_and_the_task(new_job):
    with pytest.raises(JobFailed):
        serve(
            new_job.id,
            new_job.status,
            raising(JobFailed("bad rows", code="invalid_training_file", param="training_file")),
        )
    assert now(new_job).error == {"code": "invalid_training_file", "message": "bad rows", "param": "training_file"}


def test_a_stopped_stage_leaves_the_job_to_the_next_worker(new_job):
    stopped = served(new_job, raising(Stopped()))
    assert (stopped.status, stopped.lease_owner) == (Status.VALIDATING_FILES, None)


@pytest.mark.parametrize("error", [Surrendered("killed"), StorageError("disk full")])
def test_a_stage_that_was_lost_is_given_back_to_the_clock(new_job, error):
    served(new_job, raising(error))
    with transaction() as conn:
        assert [job.id for job in leases.take_back(conn, retry_seconds=0)] == [new_job.id]


def test_a_bug_in_a_stage_gives_the_job_back_and_is_seen(new_job):
    with pytest.raises(ZeroDivisionError):
        serve(new_job.id, new_job.status, raising(ZeroDivisionError()))
    with transaction() as conn:
        assert len(leases.take_back(conn, retry_seconds=0)) == 1


def test_a_pause_reaches_the_stage_by_a_heartbeat(new_job):
    def stage(lease: Lease) -> Ending:
        with transaction() as conn:
            jobs.request_pause(conn, PROJECT, lease.job.id)
        eventually(lambda: lease.order().signal is Signal.STOP)
        raise Stopped

    assert served(queued(new_job), stage).status is Status.PAUSED


def test_a_cancel_reaches_the_stage_by_a_heartbeat(new_job):
    def stage(lease: Lease) -> Ending:
        with transaction() as conn:
            jobs.request_cancel(conn, PROJECT, lease.job.id)
        eventually(lambda: lease.order().signal is Signal.KILL)
        return Ending()

    assert served(queued(new_job), stage).status is Status.CANCELLED


def test_a_lost_lease_reaches_the_stage_and_nothing_is_written(new_job):
    def stage(lease: Lease) -> Ending:
        with transaction() as conn:
            conn.execute("update jobs set lease_until = clock_timestamp() where id = %s", (lease.job.id,))
            leases.take_back(conn, retry_seconds=0)
        eventually(lambda: lease.order().signal is Signal.KILL)
        return Ending(result={"late": True})

    ended = served(queued(new_job), stage)
    assert (ended.status, ended.result.get("late")) == (Status.QUEUED, None)


def test_sigterm_asks_the_stage_to_stop_and_the_job_waits_for_another_worker(new_job):
    def stage(lease: Lease) -> Ending:
        os.kill(os.getpid(), signal.SIGTERM)
        eventually(lambda: lease.order().signal is Signal.STOP)
        raise Stopped

    ended = served(queued(new_job), stage)
    assert (ended.status, ended.crashes) == (Status.QUEUED, 0)


def test_the_handler_of_sigterm_is_put_back(new_job):
    before = signal.getsignal(signal.SIGTERM)
    served(new_job, done)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_shutdown_of_the_worker_reaches_the_stage(new_job):
    def stage(lease: Lease) -> Ending:
        supervision.shutting_down.value = 1
        try:
            lease.go_on()
        finally:
            supervision.shutting_down.value = 0
        raise AssertionError("not reached")

    assert served(new_job, stage).status is Status.VALIDATING_FILES


def test_a_lease_is_not_trusted_longer_than_it_was_granted_for(new_job):
    def stage(lease: Lease) -> Ending:
        lease.until = 0.0
        assert lease.order().signal is Signal.KILL
        return Ending(Outcome.STOPPED)

    served(new_job, stage)


def test_events_of_a_stage_are_numbered_on(new_job):
    def stage(lease: Lease) -> Ending:
        lease.append([NewEvent("one"), NewEvent("two")])
        lease.append([NewEvent("three")])
        return Ending()

    served(new_job, stage)
    with transaction() as conn:
        told = conn.execute(
            "select seq, message from job_events where job_id = %s and seq is not null order by seq", (new_job.id,)
        ).fetchall()
    assert told == [{"seq": 0, "message": "one"}, {"seq": 1, "message": "two"}, {"seq": 2, "message": "three"}]


def test_no_heartbeat_is_left_running(new_job):
    served(new_job, done)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease")]


def test_every_line_that_is_logged_in_a_turn_names_the_job(new_job):
    lines: list[str] = []

    def stage(lease: Lease) -> Ending:
        lines.append(JsonFormatter().format(logging.makeLogRecord({"msg": "from within"})))
        return Ending()

    served(new_job, stage)
    assert json.loads(lines[0])["job_id"] == new_job.id


def test_scratch_of_a_worker_that_died_goes_and_that_of_a_living_one_stays(new_job):
    with scratch.directory(new_job) as ours:
        dead = ours.with_name(f"{new_job.id}.a9.{socket.gethostname()}.{2**22 + 1}")
        dead.mkdir()
        scratch.sweep()
        assert ours.is_dir()
        assert not dead.exists()


def test_events_reported_from_two_threads_are_all_kept(new_job):
    def stage(lease: Lease) -> Ending:
        with ThreadPoolExecutor(2) as threads:
            for number in range(60):
                threads.submit(lease.append, [NewEvent(f"event {number}")])
        return Ending()

    served(new_job, stage)
    with transaction() as conn:
        row = conn.execute(
            "select count(*) as n from job_events where job_id = %s and message like 'event %%'", (new_job.id,)
        ).fetchone()
    assert row == {"n": 60}


def test_a_drain_that_takes_too_long_ends_at_once(new_job, monkeypatch):
    monkeypatch.setattr(supervision, "DRAIN_SECONDS", -1.0)

    def stage(lease: Lease) -> Ending:
        os.kill(os.getpid(), signal.SIGTERM)
        eventually(lambda: lease.order().signal is Signal.KILL)
        raise Stopped

    assert served(queued(new_job), stage).status is Status.QUEUED
