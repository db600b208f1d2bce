"""What every way to call the service owes: the same life of a job, told in the words of its recorded examples.

The stages are called as plain functions, with a scripted backend in the trainer's place.
"""

import uuid
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from app.api import create_app
from app.core.errors import JobFailed
from app.core.job import Job
from app.core.states import Outcome, Status
from app.dialects import DIALECTS
from app.store import jobs
from app.store.db import transaction
from app.store.migrate import migrate
from tests.dialects.conftest import ROWS, Person, ann, bob, clean, person
from tests.settings import settings
from tests.store.conftest import claimed, finished
from tests.wire import DOORS
from tests.wire.door import OWED, Door
from tests.wire.likeness import unlike
from tests.workers.scripted import DONE, HYPERPARAMETERS, STARTED, Scripted, step
from workers import finalization, training, validation
from workers.supervision import serve

__all__ = ["ann", "bob", "clean"]

STEPS = [STARTED, step(1), step(2)]
WAITING = [{"type": "progress", "step": 2}] * 2000
every_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
every_pausing_door = pytest.mark.parametrize("door", [d for d in DOORS if d.has("pause")], ids=lambda door: door.name)


@pytest.fixture(scope="module")
def app(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("doors")
    with settings(
        database_url=database_url,
        redis_url=redis_url,
        redis_prefix=f"test-{uuid.uuid4().hex}:",
        storage_url=str(folder / "storage"),
        work_dir=str(folder / "work"),
        heartbeat_seconds="0.02",
    ):
        migrate()
        yield create_app()


def made(door: Door, who: Person, rows: bytes = ROWS) -> tuple[str, Job]:
    """A new job: its id as the door shows it, and its row."""
    shown = door.job_id(door.ask(who, "create", file=door.upload(who, rows)))
    with transaction() as conn:
        [newest] = conn.execute(
            "select id from jobs where project_id = %s order by created_at desc, id desc limit 1", (who.project,)
        ).fetchall()
        return shown, jobs.get(conn, who.project, newest["id"])


def now(job: Job) -> Job:
    with transaction() as conn:
        return jobs.get(conn, job.project_id, job.id)


def queued(job: Job) -> Job:
    return finished(claimed(job), Outcome.DONE, result={"hyperparameters": HYPERPARAMETERS})


def train(job: Job, lines: list[dict], between: Callable[[], None] = lambda: None) -> None:
    """The training stage; between two lines of its trainer something may happen."""
    backend = Scripted(lines)
    backend.between = between
    serve(job.id, Status.QUEUED, lambda lease: training._train(lease, backend))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_dialect_has_a_door(dialect):
    assert dialect.name in {door.dialect for door in DOORS}


@every_door
def test_every_door_has_an_example_of_all_that_it_owes(door):
    assert [name for name in OWED if not door.has(name)] == []
    assert door.has("resume") or not door.has("pause")
    assert set(door.states) == set(Status)


@every_door
def test_a_job_is_created_watched_and_succeeds(door, ann):
    shown, job = made(door, ann)
    seen = [door.sees(ann, shown)]
    queued(job)
    seen.append(door.sees(ann, shown))
    train(job, [*STEPS, DONE], between=lambda: seen.append(door.sees(ann, shown)))
    seen.append(door.sees(ann, shown))
    finalization.finalize(job.id)
    assert now(job).status is Status.SUCCEEDED
    ended = door.status(door.ask(ann, "succeeded", job=shown))
    told = (Status.VALIDATING_FILES, Status.QUEUED, *[Status.RUNNING] * 4, Status.FINALIZING, Status.SUCCEEDED)
    assert [*seen, ended] == [door.states[status] for status in told]


@every_door
def test_bad_data_fails_the_job_and_says_why(door, ann):
    shown, job = made(door, ann, rows=ROWS[: len(ROWS) // 10])
    with pytest.raises(JobFailed):
        validation.validate(job.id)
    assert door.status(door.ask(ann, "failed", job=shown)) == door.states[Status.FAILED]


@every_door
def test_a_cancel_stops_a_running_job_at_once_and_for_good(door, ann):
    shown, job = made(door, ann)
    cancels = iter([lambda: door.ask(ann, "cancel", job=shown)])
    train(queued(job), [*STEPS, *WAITING, DONE], between=lambda: next(cancels, lambda: None)())
    assert now(job).status is Status.CANCELLED
    assert door.sees(ann, shown) == door.states[Status.CANCELLED]


@every_pausing_door
def test_a_paused_job_is_resumed_and_succeeds(door, ann):
    shown, job = made(door, ann)
    pauses = iter([lambda: door.ask(ann, "pause", job=shown)])
    train(queued(job), [*STEPS, *WAITING], between=lambda: next(pauses, lambda: None)())
    assert door.sees(ann, shown) == door.states[Status.PAUSED]
    door.ask(ann, "resume", job=shown)
    train(job, [STARTED, DONE])
    finalization.finalize(job.id)
    assert door.status(door.ask(ann, "succeeded", job=shown)) == door.states[Status.SUCCEEDED]


@every_door
def test_pages_show_each_job_once(door, ann):
    shown = {made(door, ann)[0] for _ in range(2 * door.pages - 1)}
    first = door.ask(ann, "list")
    after = door.after(first)
    assert after is not None
    second = door.ask(ann, "next_page", after=after)
    assert door.after(second) is None
    found = [door.job_id(job) for job in [*door.jobs(first), *door.jobs(second)]]
    assert len(door.jobs(first)) == door.pages
    assert set(found) == shown
    assert len(found) == len(shown)


@every_door
def test_what_is_not_there_and_what_is_another_projects_look_the_same(door, ann, bob):
    shown, job = made(door, ann)
    for who, sought in ((ann, "ftjob-none"), (bob, shown), (bob, job.id)):
        assert door.message(door.ask(who, "unknown", job=sought))
        assert door.send(who, "cancel", job=sought).status_code == 404
    assert door.jobs(door.ask(bob, "list")) == []
    assert door.sees(ann, shown) == door.states[Status.VALIDATING_FILES]


@every_door
def test_a_key_that_may_only_read_creates_and_cancels_nothing(door, app, ann):
    shown, job = made(door, ann)
    reader = person(app, "ann", scopes=("read",))
    assert door.message(door.ask(reader, "forbidden", file=job.spec["training_file"]))
    assert door.send(reader, "cancel", job=shown).status_code == 403
    assert [door.status(seen) for seen in door.jobs(door.ask(reader, "list"))] == [door.states[job.status]]


@every_door
def test_a_body_without_its_data_is_refused_in_words(door, ann):
    assert door.message(door.ask(ann, "invalid"))
    assert door.jobs(door.ask(ann, "list")) == []


@pytest.mark.parametrize("other", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("maker", DOORS, ids=lambda door: door.name)
def test_a_job_made_through_one_door_is_seen_paused_and_cancelled_through_every_other_one(maker, other, ann):
    shown, job = made(maker, ann)
    queued(job)
    assert other.sees(ann, job.id) == other.states[Status.QUEUED]
    [listed] = other.jobs(other.ask(ann, "list"))
    assert other.status(listed) == other.states[Status.QUEUED]
    pausing = other if other.has("pause") else maker
    if pausing.has("pause"):
        pausing.ask(ann, "pause", job=job.id)
        assert (maker.sees(ann, shown), other.sees(ann, job.id)) == (
            maker.states[Status.PAUSED],
            other.states[Status.PAUSED],
        )
        if other.has("resume"):
            other.ask(ann, "resume", job=job.id)
            assert maker.sees(ann, shown) == maker.states[Status.QUEUED]
    other.ask(ann, "cancel", job=job.id)
    assert maker.sees(ann, shown) == maker.states[Status.CANCELLED]


@pytest.mark.parametrize(
    ("example", "found"),
    [
        ({"id": "<string>"}, {}),
        ({"id": "<string>"}, {"id": None}),
        ({"seed": "<integer or auto>"}, {"seed": "7"}),
        ({"seed": "<integer>"}, {"seed": True}),
        ({"seed": 1}, {"seed": True}),
        ({"data": [{"id": "<string>"}]}, {"data": [{"id": "a"}, {}]}),
        ({"data": []}, {"data": [{}]}),
        ({"error": None}, {"error": {}}),
    ],
)
def test_an_answer_that_is_not_as_its_example_is_told(example, found):
    assert len(unlike(example, found)) == 1
