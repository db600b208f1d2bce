"""The layer around the application: what the suite names is there at every request, and nothing else is changed."""

import threading
from pathlib import Path

import pytest
from werkzeug.test import Client

from app.store.db import transaction
from tests.conformance import rows
from tests.conformance.application import around
from tests.dialects.conftest import app, storage
from tests.services import eventually

__all__ = ["app", "storage"]

ROOT = Path(__file__).resolve().parents[2]
NAMES = [rows.KEY, rows.JOB, rows.TUNED_MODEL, rows.CHECKPOINT, rows.PERMISSION, rows.UPLOAD, "file-abc123"]


class Caller(Client):
    """Sends the suite's key, and closes each answer as a server does."""

    def open(self, *args, **options):
        return super().open(*args, buffered=True, headers={"Authorization": f"Bearer {rows.KEY}"}, **options)


@pytest.fixture
def client(app) -> Caller:
    rows.store_contents()
    return Caller(around(app.wsgi_app, put_back=rows.put_back))


@pytest.mark.parametrize(
    ("method", "destroying", "path"),
    [
        ("DELETE", "/v1/files/file_id", "/v1/files/file_id"),
        ("POST", f"/v1/fine_tuning/jobs/{rows.JOB}/cancel", f"/v1/fine_tuning/jobs/{rows.JOB}"),
        ("POST", f"/v1/fine_tuning/jobs/{rows.JOB}/resume", f"/v1/fine_tuning/jobs/{rows.JOB}"),
        ("DELETE", f"/v1/models/{rows.TUNED_MODEL}", f"/v1/models/{rows.TUNED_MODEL}"),
    ],
)
def test_what_one_request_destroyed_is_there_at_the_next(client, method, destroying, path):
    before = client.get(path)
    assert before.status_code == 200
    assert client.open(destroying, method=method).status_code == 200
    after = client.get(path).get_json()
    assert {**after, **times(before.get_json())} == before.get_json()


def times(found: dict[str, object]) -> dict[str, object]:
    names = ("created", "created_at", "started_at", "active_seconds")
    return {name: found[name] for name in names if name in found}


def test_the_job_of_the_suite_was_paused_after_two_checkpoints(client):
    shown = client.get(f"/v1/fine_tuning/jobs/{rows.JOB}").get_json()
    assert (shown["status"], shown["state_detail"]) == ("queued", "paused")
    listed = client.get(f"/v1/fine_tuning/jobs/{rows.JOB}/checkpoints").get_json()["data"]
    assert [found["fine_tuned_model_checkpoint"] for found in listed] == [rows.CHECKPOINT, rows.JOB]


def test_the_content_of_a_file_comes_whole_through_the_layer(client):
    assert client.get("/v1/files/file_id/content").data == rows.CONTENT


def test_request_and_answer_pass_untouched(app):
    seen = []

    def application(environ, start_response):
        seen.append(environ)
        start_response("418 I'm a teapot", [("x-strange", "1")])
        return [b"a", b"b"]

    answer = Caller(around(application, put_back=lambda: None)).post("/anything?a=b", data=b"body")
    assert (answer.status, answer.headers["x-strange"], answer.data) == ("418 I'm a teapot", "1", b"ab")
    assert seen[0]["wsgi.input"].read() == b"body"


def test_a_request_waits_until_the_answer_before_it_was_sent(app):
    begun = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}

    def application(environ, start_response):
        begun.append(environ)
        return [b""]

    layer = around(application, put_back=lambda: None)
    first = layer(environ, print)
    second = threading.Thread(target=lambda: layer(environ, print).close())
    second.start()
    eventually(somebody_waits)
    assert len(begun) == 1
    first.close()
    second.join(60)
    assert len(begun) == 2


def somebody_waits() -> bool:
    with transaction() as conn:
        return conn.execute("select from pg_locks where locktype = 'advisory' and not granted").fetchone() is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_product_knows_no_name_of_the_suite(name):
    sources = [path for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.*") if path.suffix != ".pyc"]
    assert len(sources) > 100
    assert [path for path in sources if name in path.read_text("utf-8", errors="replace")] == []
