"""Two projects: whatever one of them has is not there for the other, on every route."""

import re

import pytest

from app.dialects import of_path
from app.dialects.openai import OPENAI
from tests.dialects.conftest import JOBS, person, problem
from tests.dialects.test_models import epoch, tuned
from tests.store.conftest import checkpoint

__all__ = ["checkpoint", "epoch"]


@pytest.fixture
def things(ann):
    job = ann.job(metadata={"team": "a"})
    upload = ann.post("/v1/uploads", UPLOAD).json["id"]
    model = tuned(ann).name
    permission = ann.post(f"/v1/fine_tuning/checkpoints/{model}/permissions", GRANT).json["data"][0]["id"]
    return {
        "job": job["id"],
        "file": job["training_file"],
        "model": model,
        "upload": upload,
        "permission": permission,
    }


UPLOAD = {"bytes": 4, "filename": "t.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
GRANT = {"project_ids": ["ann"]}
PERMISSIONS = "/v1/fine_tuning/checkpoints/{model}/permissions"
BODIES = {"/v1/uploads/{upload}/complete": {"part_ids": ["part_x"]}, PERMISSIONS: GRANT}

ROUTES = [
    ("get", JOBS + "/{job}"),
    ("get", JOBS + "/{job}/events"),
    ("get", JOBS + "/{job}/checkpoints"),
    ("post", JOBS + "/{job}/cancel"),
    ("post", JOBS + "/{job}/pause"),
    ("post", JOBS + "/{job}/resume"),
    ("get", "/v1/files/{file}"),
    ("get", "/v1/files/{file}/content"),
    ("get", "/v1/files/{file}/report"),
    ("delete", "/v1/files/{file}"),
    ("post", "/v1/uploads/{upload}/parts"),
    ("post", "/v1/uploads/{upload}/complete"),
    ("post", "/v1/uploads/{upload}/cancel"),
    ("get", PERMISSIONS),
    ("post", PERMISSIONS),
    ("delete", PERMISSIONS + "/{permission}"),
    ("get", "/v1/models/{model}"),
    ("get", "/v1/models/{model}/weights"),
    ("delete", "/v1/models/{model}"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_anothers_thing_answers_exactly_like_one_that_never_was(ann, bob, things, method, route):
    body = [BODIES[route]] if method == "post" and route in BODIES else []
    anothers = getattr(bob, method)(route.format(**things), *body)
    nothing = getattr(bob, method)(route.format(**dict.fromkeys(things, "none")), *body)
    assert problem(anothers, 404)["code"] == problem(nothing, 404)["code"]
    told, blank = anothers.json["error"]["message"], nothing.json["error"]["message"]
    for thing in things.values():
        told = told.replace(thing, "none")
    assert told == blank
    assert ann.get(f"{JOBS}/{things['job']}").json["status"] == "validating_files"


def test_every_route_that_names_a_thing_is_tried_above(app):
    named = {
        (
            method.lower(),
            re.sub(r"<(?:path:)?([a-z]+?)(?:_id)?>", r"{\1}", rule.rule),
        )
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.arguments and of_path(rule.rule) is OPENAI
    }
    assert named == set(ROUTES)


def test_anothers_checkpoint_is_no_model(ann, bob, epoch):
    for url in (f"/v1/models/{epoch.name}", f"/v1/models/{epoch.name}/weights"):
        assert ann.get(url).status_code == 200
        assert problem(bob.get(url), 404)["code"] == "model_not_found"
    assert problem(bob.delete(f"/v1/models/{epoch.name}"), 404)["code"] == "model_not_found"


def test_lists_hold_nothing_of_another_project(ann, bob, things):
    assert bob.get(JOBS).json["data"] == []
    assert bob.get(JOBS, **{"metadata[team]": "a"}).json["data"] == []
    assert bob.get(JOBS, after=things["job"]).json["data"] == []
    assert bob.get("/v1/files").json["data"] == []
    assert bob.get("/v1/files", after=things["file"], order="asc").json["data"] == []
    assert things["model"] not in bob.get("/v1/models").text


def test_a_job_of_another_project_cannot_be_chatted_with(bob, things):
    error = problem(bob.post("/v1/chat/completions", {"model": things["model"], "messages": []}), 404)
    assert error["code"] == "model_not_found"


def test_a_file_of_another_project_trains_nothing(bob, things):
    for member in ("training_file", "validation_file"):
        assert problem(bob.create(**{member: things["file"]}), 400)["param"] == member


def test_two_keys_of_one_project_share_everything(app, ann, things):
    assert person(app, "ann").get(f"{JOBS}/{things['job']}").status_code == 200
