"""Lists: jobs and their filters, events, checkpoints; pages, limits, and places that are not there."""

from dataclasses import replace

import pytest

from app.core.job import NewEvent
from app.store import checkpoints, events
from app.store.db import transaction
from tests.dialects.conftest import JOBS, problem
from tests.store.conftest import checkpoint, queued, running

__all__ = ["checkpoint"]


@pytest.fixture
def new(ann):
    return ann.row(ann.job()["id"])


def test_jobs_are_listed_newest_first_and_page_by_page(ann):
    file = ann.file()
    made = [ann.job(training_file=file)["id"] for _ in range(5)]
    first = ann.get(JOBS, limit=2).json
    second = ann.get(JOBS, limit=2, after=first["data"][-1]["id"]).json
    third = ann.get(JOBS, limit=2, after=second["data"][-1]["id"]).json
    pages = [first, second, third]
    assert [job["id"] for page in pages for job in page["data"]] == made[::-1]
    assert [page["has_more"] for page in pages] == [True, True, False]
    assert {page["object"] for page in pages} == {"list"}


def test_a_limit_of_nothing_is_an_empty_page_that_knows_there_is_more(ann, new):
    assert ann.get(JOBS, limit=0).json == {"object": "list", "data": [], "has_more": True}
    assert ann.get(f"{JOBS}/{new.id}/events", limit=0).json["has_more"] is True
    assert ann.get(f"{JOBS}/{new.id}/checkpoints", limit=0).json["has_more"] is False


def test_a_page_is_never_longer_than_a_hundred(ann, new):
    with transaction() as conn:
        for number in range(120):
            events.note(conn, new.id, NewEvent(f"event {number}"))
    page = ann.get(f"{JOBS}/{new.id}/events", limit=10**6).json
    assert len(page["data"]) == 100
    assert page["has_more"] is True


@pytest.mark.parametrize("after", ["after", "ftevent-", "ftevent-zz", "ftevent-" + "f" * 24, "ftjob-x", "ftevent-1"])
def test_an_unknown_place_in_a_list_is_an_empty_page(ann, new, after):
    for url in (JOBS, f"{JOBS}/{new.id}/events", f"{JOBS}/{new.id}/checkpoints", "/v1/files"):
        answer = ann.get(url, after=after)
        assert answer.status_code == 200
        assert answer.json["data"] == []
        assert answer.json["has_more"] is False


def walked(who, url: str, **query) -> list[str]:
    """The ids of a list, walked through two at a time."""
    found: list[str] = []
    while True:
        page = who.get(url, limit=2, **query).json
        found += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            return found
        query["after"] = found[-1]


def points_of(job, make) -> None:
    with transaction() as conn:
        for step in (1, 2, 3):
            made = make(job, step, kind="epoch")
            checkpoints.record(conn, job, replace(made, name=f"{job.id}:{step}"))


@pytest.mark.parametrize(("ascending", "descending"), [("asc", "desc"), ("ascending", "descending")])
def test_every_list_is_walked_through_in_either_order_and_either_spelling(ann, checkpoint, ascending, descending):
    made = [ann.row(ann.job()["id"]) for _ in range(3)]
    points_of(running(made[0]), checkpoint)
    for url in (JOBS, f"{JOBS}/{made[0].id}/events", f"{JOBS}/{made[0].id}/checkpoints", "/v1/files"):
        newest_first = walked(ann, url)
        assert len(newest_first) >= 3
        assert walked(ann, url, order=descending) == newest_first
        assert walked(ann, url, order=ascending) == newest_first[::-1]
        assert problem(ann.get(url, order="up"), 400)["param"] == "order"


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_place_in_a_list_of_another_project_or_job_is_no_place_here(ann, bob, checkpoint, order):
    ours, middle, theirs = ann.row(ann.job()["id"]), bob.row(bob.job()["id"]), ann.row(ann.job()["id"])
    for job in (ours, middle, theirs):
        points_of(running(job), checkpoint)
    places = {
        JOBS: middle.id,
        "/v1/files": middle.spec["training_file"],
        f"{JOBS}/{ours.id}/events": bob.get(f"{JOBS}/{middle.id}/events").json["data"][1]["id"],
        f"{JOBS}/{ours.id}/checkpoints": bob.get(f"{JOBS}/{middle.id}/checkpoints").json["data"][1]["id"],
        f"{JOBS}/{theirs.id}/events": ann.get(f"{JOBS}/{ours.id}/events").json["data"][1]["id"],
        f"{JOBS}/{theirs.id}/checkpoints": ann.get(f"{JOBS}/{ours.id}/checkpoints").json["data"][1]["id"],
    }
    for url, after in places.items():
        page = ann.get(url, after=after, order=order).json
        assert (page["data"], page["has_more"]) == ([], False), url


@pytest.mark.parametrize("limit", ["-1", "one", "1.5", "", "0x1", "9" * 30, "١"])  # the last is an Arabic one
def test_a_limit_that_is_no_whole_number_is_refused_everywhere(ann, new, limit):
    for url in (JOBS, f"{JOBS}/{new.id}/events", f"{JOBS}/{new.id}/checkpoints", "/v1/files"):
        assert problem(ann.get(url, limit=limit), 400)["param"] == "limit"


def test_an_empty_value_of_metadata_is_a_value(ann):
    empty = ann.job(metadata={"team": ""})["id"]
    ann.job(metadata={"team": "a"})
    ann.job()
    assert [job["id"] for job in ann.get(JOBS, **{"metadata[team]": ""}).json["data"]] == [empty]


def test_jobs_are_filtered_by_all_pairs_of_metadata_in_either_encoding(ann):
    one = ann.job(metadata={"team": "a", "run": "1"})["id"]
    ann.job(metadata={"team": "a", "run": "2"})
    ann.job()

    def found(query):
        return [job["id"] for job in ann.http.get(f"{JOBS}?{query}", headers=ann.headers).json["data"]]

    assert found("metadata[team]=a&metadata[run]=1") == [one]
    assert found("metadata%5Bteam%5D=a&metadata%5Brun%5D=1") == [one]
    assert len(found("metadata[team]=a")) == 2
    assert found("metadata[team]=b") == []
    assert found("metadata[none]=") == []


def test_jobs_without_metadata_are_asked_for_by_null(ann):
    ann.job(metadata={"team": "a"})
    plain = {ann.job()["id"], ann.job(metadata={})["id"]}
    assert {job["id"] for job in ann.get(JOBS, metadata="null").json["data"]} == plain


@pytest.mark.parametrize("query", ["metadata=null&metadata[a]=b", "metadata=x", "metadata[a]=1&metadata[a]=2"])
def test_filters_that_contradict_themselves_are_refused(ann, query):
    problem(ann.http.get(f"{JOBS}?{query}", headers=ann.headers), 400)


def test_events_are_told_newest_first_and_page_by_page(ann, new):
    queued(new)
    url = f"{JOBS}/{new.id}/events"
    whole = ann.get(url).json["data"]
    assert whole[0]["message"] == "Files validated, moving job to queued state"
    assert whole[-1]["message"] == f"Created fine-tuning job: {new.id}"
    paged, after = [], None
    while True:
        page = ann.get(url, limit=1, **({"after": after} if after else {})).json
        paged += page["data"]
        after = paged[-1]["id"]
        if not page["has_more"]:
            break
    assert paged == whole


def test_a_metrics_event_carries_its_numbers(ann, new):
    job = running(new)
    told = {"step": 1, "total_steps": 9, "train_loss": 0.5}
    with transaction() as conn:
        events.append(conn, job, [NewEvent("Step 1/9: training loss=0.50", type="metrics", data=told)], seq=1)
    [event] = [event for event in ann.get(f"{JOBS}/{job.id}/events").json["data"] if event["type"] == "metrics"]
    assert event["data"] == told
    assert event["object"] == "fine_tuning.job.event"
    assert event["id"].startswith("ftevent-")


def test_epoch_checkpoints_are_listed_without_what_was_not_measured(ann, new, checkpoint):
    job = running(new)
    with transaction() as conn:
        for step, kind in ((2, "epoch"), (3, "resume"), (4, "epoch")):
            made = checkpoint(job, step, kind=kind)
            metrics = {"train_loss": 0.5, "valid_loss": None}
            checkpoints.record(conn, job, type(made)(**{**vars(made), "metrics": metrics}))
    page = ann.get(f"{JOBS}/{job.id}/checkpoints").json
    assert [item["step_number"] for item in page["data"]] == [4, 2]
    assert page["data"][0]["metrics"] == {"step": 4, "train_loss": 0.5}
    assert page["data"][0]["fine_tuning_job_id"] == job.id
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][1]["id"])
    behind = ann.get(f"{JOBS}/{job.id}/checkpoints", after=page["first_id"]).json
    assert [item["step_number"] for item in behind["data"]] == [2]
