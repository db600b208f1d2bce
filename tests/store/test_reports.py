"""Data reports: asked for once, made by one worker at a time, given up in the end, and forgotten."""

from typing import Any

import pytest

from app.core.job import DataReport
from app.store import files, reports
from app.store.db import transaction
from tests.store.conftest import PROJECT, new_file

SPEC = {"training_file": "file-a", "validation_file": None, "base": None}
MADE: dict[str, Any] = {"files": [], "error": None}


@pytest.fixture
def report(key_id) -> DataReport:
    with transaction() as conn:
        conn.execute("truncate reports")
    return asked()


def asked(**changes: object) -> DataReport:
    with transaction() as conn:
        return reports.ask(conn, "report-1", project_id=PROJECT, spec={**SPEC, **changes})


def claimed(*, lease_seconds: float = 60) -> DataReport | None:
    with transaction() as conn:
        return reports.claim(conn, "report-1", lease_seconds=lease_seconds)


def offered(*, seconds: float = 60) -> bool:
    with transaction() as conn:
        return reports.offer(conn, "report-1", seconds=seconds)


def finished(held: DataReport | None) -> DataReport:
    assert held is not None
    with transaction() as conn:
        reports.finish(conn, held, MADE)
    return asked()


def test_a_report_that_was_made_is_found_by_whoever_asks_again(report):
    assert report.content is None
    assert finished(claimed()).content == MADE
    assert asked().content == MADE


def test_a_message_is_sent_once_in_a_while_and_not_while_a_worker_has_the_report(report):
    assert offered()
    assert not offered()
    assert offered(seconds=-1)
    claimed()
    assert not offered(seconds=-1)


def test_a_message_is_not_sent_for_a_report_that_was_made(report):
    finished(claimed())
    assert not offered()


def test_one_worker_at_a_time_has_a_report(report):
    assert claimed() is not None
    assert claimed() is None


def test_a_worker_whose_lease_lapsed_writes_nothing_once_another_has_the_report(report):
    late = claimed(lease_seconds=-1)
    assert late is not None
    assert claimed() is not None
    assert finished(late).content is None
    with transaction() as conn:
        assert not reports.renew(conn, late, lease_seconds=60)


def test_a_lease_is_renewed_by_its_holder(report):
    held = claimed(lease_seconds=-1)
    assert held is not None
    with transaction() as conn:
        assert reports.renew(conn, held, lease_seconds=60)
    assert claimed() is None


def test_a_report_whose_workers_were_lost_three_times_is_given_up(report):
    for _ in range(reports.ATTEMPTS):
        assert claimed(lease_seconds=-1) is not None
        with transaction() as conn:
            given_up = reports.give_up(conn, {"files": [], "error": {"code": "worker_lost"}})
    assert given_up == 1
    assert claimed() is None
    assert asked().content == {"files": [], "error": {"code": "worker_lost"}}


def test_the_reports_of_a_project_that_wait_are_counted(report):
    with transaction() as conn:
        assert (reports.waiting(conn, PROJECT), reports.waiting(conn, "another")) == (1, 0)
    finished(claimed())
    with transaction() as conn:
        assert reports.waiting(conn, PROJECT) == 0


def test_a_report_that_was_given_back_is_offered_and_made_at_once(report):
    assert offered()
    held = claimed()
    assert held is not None
    with transaction() as conn:
        reports.surrender(conn, held)
    assert offered()
    assert claimed() is not None


def test_a_report_that_could_not_be_made_is_forgotten_soon(report):
    finished(claimed())
    with transaction() as conn:
        assert reports.forget(conn) == 0
        conn.execute("update reports set made_at = clock_timestamp() - interval '11 minutes'")
        assert reports.forget(conn) == 1


def test_a_report_goes_with_its_file_and_after_a_week(report):
    with transaction() as conn:
        file = files.insert(conn, new_file())
        reports.ask(conn, "report-2", project_id=PROJECT, spec={**SPEC, "validation_file": file.id})
        assert reports.forget(conn) == 0
        files.delete(conn, PROJECT, file.id)
        assert reports.forget(conn) == 1
        conn.execute("update reports set created_at = clock_timestamp() - interval '8 days'")
        assert reports.forget(conn) == 1
