"""Events as server-sent events: whole, in order, resumable, bounded in number and in time, and gone with the server."""

import http.client
import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from app.actions import following
from app.core.errors import Unavailable
from app.core.job import Job, NewEvent
from app.core.states import Outcome
from app.store import events
from app.store.db import transaction
from tests.dialects.conftest import JOBS, Person, problem
from tests.dialects.server import Server, serving
from tests.services import eventually
from tests.store.conftest import claimed, finished, running

DONE = "[DONE]"
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def new(ann) -> Job:
    return ann.row(ann.job()["id"])


def note(job: Job, *messages: str) -> None:
    with transaction() as conn:
        for message in messages:
            events.note(conn, job.id, NewEvent(message))


def failed(job: Job) -> Job:
    return finished(claimed(job), Outcome.FAILED, error={"message": "no"})


def url(job: Job) -> str:
    return f"{JOBS}/{job.id}/events"


def listed(ann: Person, job: Job) -> list[dict]:
    return list(ann.get(url(job), order="asc", limit=100).get_json()["data"])


def told(text: str) -> list[tuple[str, str]]:
    """The id and data of every event of a stream; comments and the like are left out."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            found.append((lines.get("id", ""), lines["data"]))
    return found


def streamed(ann: Person, job: Job, headers: dict[str, str] | None = None, **query: str) -> list[tuple[str, str]]:
    answer = ann.http.get(url(job), headers={**ann.headers, **(headers or {})}, query_string=query)
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "text/event-stream"
    return told(answer.text)


@pytest.mark.parametrize(("headers", "query"), [({}, {"stream": "true"}), (STREAM, {})])
def test_the_stream_of_an_ended_job_tells_all_its_events_from_the_oldest_on_and_ends(ann, new, headers, query):
    note(new, *(f"event {number}" for number in range(250)))
    failed(new)
    found = streamed(ann, new, headers, **query)
    assert [json.loads(data)["message"] for _, data in found[2:252]] == [f"event {number}" for number in range(250)]
    assert found[-1] == ("", DONE)
    assert json.loads(found[-2][1])["message"] == "The job failed: no"
    assert all(json.loads(data)["id"] == name for name, data in found[:-1])


def test_an_event_of_a_stream_is_the_one_of_the_list(ann, new):
    note(new, "two\nlines and an ü")
    failed(new)
    assert [json.loads(data) for _, data in streamed(ann, new, stream="true")[:-1]] == listed(ann, new)


@pytest.mark.parametrize("place", ["header", "query"])
def test_a_stream_goes_on_behind_the_last_event_that_was_seen(ann, new, place):
    failed(new)
    whole = streamed(ann, new, stream="true")
    seen = whole[1][0]
    if place == "header":
        assert streamed(ann, new, {"Last-Event-ID": seen, **STREAM}, after=whole[0][0]) == whole[2:]
    else:
        assert streamed(ann, new, stream="true", after=seen) == whole[2:]


def test_whoever_has_seen_everything_of_an_ended_job_is_told_that_it_is_done(ann, new):
    failed(new)
    last = streamed(ann, new, stream="true")[-2][0]
    assert streamed(ann, new, {"Last-Event-ID": last}, stream="true") == [("", DONE)]


def test_an_event_of_another_job_is_nothing_to_go_on_from(ann, bob, new):
    other = bob.row(bob.job()["id"])
    for seen in (listed(bob, other)[0]["id"], "ftevent-none", "ftevent-" + "0" * 24, "5"):
        answer = ann.http.get(url(new), headers={**ann.headers, **STREAM, "Last-Event-ID": seen})
        assert problem(answer, 400)["param"] == "Last-Event-ID"


def test_a_job_of_another_project_is_not_followed(bob, new):
    assert problem(bob.get(url(new), stream="true"), 404)["code"] == "fine_tune_not_found"
    assert not following._listening


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {}),
        ({"Accept": "*/*"}, {}),
        ({"Accept": "application/json, text/event-stream"}, {}),
        (STREAM, {"stream": "0"}),
    ],
)
def test_whoever_does_not_ask_for_a_stream_gets_a_list(ann, new, headers, query):
    assert ann.http.get(url(new), headers={**ann.headers, **headers}, query_string=query).json["object"] == "list"


@pytest.mark.parametrize("stream", ["", "maybe", "2"])
def test_a_wish_that_is_neither_yes_nor_no_is_refused(ann, new, stream):
    assert problem(ann.get(url(new), stream=stream), 400)["param"] == "stream"


def test_a_stream_ends_in_bounded_time_without_saying_that_the_job_is_done(ann, new):
    assert [json.loads(data) for _, data in streamed(ann, new, stream="true")] == listed(ann, new)
    assert not following._listening


def test_a_stream_shows_that_it_is_alive_though_nothing_happens(ann, new, monkeypatch):
    monkeypatch.setattr(following, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    assert ann.get(url(new), stream="true").text.count(": still here\n") >= 2


def test_a_stream_that_loses_the_database_ends_and_can_be_resumed(ann, new, monkeypatch):
    failed(new)
    with monkeypatch.context() as patch:

        def away(*_args, **_options):
            raise Unavailable("away")

        patch.setattr("app.actions.following.events.page", away)
        assert streamed(ann, new, stream="true") == []
    assert streamed(ann, new, stream="true")[-1] == ("", DONE)


def test_a_head_of_a_stream_takes_no_place(ann, new):
    for _ in range(5):
        answer = ann.http.head(url(new), headers={**ann.headers, **STREAM})
        assert answer.status_code == 200
        answer.close()
    assert not following._listening


@pytest.fixture(scope="module")
def server(app, tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), STREAM_SECONDS="60") as running_server:
        yield running_server


class Stream:
    """A stream over a real connection, read line by line."""

    def __init__(self, server: Server, who: Person, job: Job) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.connection.request("GET", url(job), headers={**who.headers, **STREAM})
        self.answer = self.connection.getresponse()

    def next(self) -> str:
        """The data of the next event."""
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream ended"
            if line.startswith("data: "):
                return line.removeprefix("data: ").strip()

    def rest(self) -> str:
        """All that comes until the stream ends as HTTP says; a cut connection raises."""
        return self.answer.read().decode()


@contextmanager
def following_of(server: Server, who: Person, job: Job) -> Iterator[Stream]:
    stream = Stream(server, who, job)
    try:
        yield stream
    finally:
        stream.connection.close()


def message(data: str) -> str:
    return str(json.loads(data)["message"])


def refusal(server: Server, who: Person, job: Job) -> tuple[int, str | None]:
    with following_of(server, who, job) as stream:
        return stream.answer.status, stream.answer.headers["Retry-After"]


def ready(server: Server) -> bool:
    with urllib.request.urlopen(f"{server.url}/healthz", timeout=10) as answer:
        return answer.status == 200


def test_what_happens_is_told_as_it_happens_and_the_stream_ends_with_the_job(server, ann, new):
    with following_of(server, ann, new) as stream:
        assert message(stream.next()) == f"Created fine-tuning job: {new.id}"
        assert message(stream.next()).startswith("Validating training file")
        job = running(new)
        assert message(stream.next()) == "Files validated, moving job to queued state"
        assert message(stream.next()) == "Fine-tuning job started"
        finished(job, Outcome.FAILED, error={"message": "no"})
        assert message(stream.next()) == "The job failed: no"
        assert stream.next() == DONE
        assert stream.rest().strip() == ""


def test_streams_beyond_the_limit_are_refused_and_the_other_requests_answered(server, ann, new):
    with following_of(server, ann, new) as one, following_of(server, ann, new) as two:
        assert one.next()
        assert two.next()
        for _ in range(8):
            assert refusal(server, ann, new) == (503, "1")
            assert ready(server)
    eventually(lambda: opens(server, ann, new))


def opens(server: Server, who: Person, job: Job) -> bool:
    with following_of(server, who, job) as stream:
        return stream.answer.status == 200


def test_a_listener_that_goes_away_makes_room(app, ann, new, tmp_path):
    with serving(tmp_path, STREAM_SECONDS="600", MAX_STREAMS="1") as server:
        with following_of(server, ann, new) as stream:
            assert stream.next()
            assert refusal(server, ann, new) == (503, "1")
        eventually(lambda: opens(server, ann, new))


def test_a_listener_that_reads_nothing_is_left_in_bounded_time(app, ann, new, tmp_path):
    with transaction() as conn:
        for number in range(800):
            events.note(conn, new.id, NewEvent("x" * 10_000, data={"number": number}))
    with serving(tmp_path, STREAM_SECONDS="1", MAX_STREAMS="1") as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**ann.headers, **STREAM, "Host": "t"}.items())
        deaf.sendall(f"GET {url(new)} HTTP/1.1\r\n{lines}\r\n".encode())
        assert deaf.recv(12) == b"HTTP/1.1 200"
        eventually(lambda: opens(server, ann, new))


def test_a_server_that_is_told_to_end_ends_its_streams_as_http_says(app, ann, new, tmp_path):
    with serving(tmp_path, STREAM_SECONDS="600") as server, following_of(server, ann, new) as stream:
        assert stream.next()
        server.process.terminate()
        assert DONE not in stream.rest()
        assert server.process.wait(20) == 0


def test_the_official_client_reads_the_stream(server, ann, new):
    failed(new)
    with openai.OpenAI(api_key=ann.secret, base_url=f"{server.url}/v1", max_retries=0) as client:
        found = client.get(
            f"/fine_tuning/jobs/{new.id}/events",
            cast_to=FineTuningJobEvent,
            stream=True,
            stream_cls=openai.Stream[FineTuningJobEvent],
            options={"params": {"stream": "true"}},
        )
        assert [event.id for event in found] == [event["id"] for event in listed(ann, new)]
