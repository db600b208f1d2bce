"""Permissions: a tuned model or checkpoint of one project, used by another one of its organization."""

from collections.abc import Iterator

import openai
import pytest

from tests.dialects.conftest import Person, person, problem
from tests.dialects.server import Server, serving
from tests.dialects.test_models import WEIGHTS, epoch, served, tuned, unpacked
from tests.store.conftest import checkpoint

__all__ = ["checkpoint", "epoch"]

NEIGHBOUR = "ann-neighbour"


@pytest.fixture
def neighbour(app, ann) -> Person:
    """Somebody of another project of Ann's organization."""
    return person(app, NEIGHBOUR, org="ann-org")


@pytest.fixture
def model(ann):
    return tuned(ann)


def url(model) -> str:
    return f"/v1/fine_tuning/checkpoints/{model.name}/permissions"


def grant(who: Person, model, *projects: str):
    return who.post(url(model), {"project_ids": list(projects or (NEIGHBOUR,))})


def test_a_permitted_model_is_read_and_downloaded_until_the_permission_is_taken_back(ann, neighbour, model):
    [permission] = grant(ann, model).json["data"]
    seen = neighbour.get(f"/v1/models/{model.name}").json
    assert (seen["id"], seen["owned_by"], seen["manifest_file"]) == (model.name, "ann-org", None)
    assert unpacked(neighbour.get(f"/v1/models/{model.name}/weights")) == WEIGHTS
    assert served(neighbour, model.name)[:2] == ["vllm", "serve"]
    assert model.name in [item["id"] for item in neighbour.get("/v1/models").json["data"]]
    gone = ann.delete(f"{url(model)}/{permission['id']}").json
    assert gone == {"id": permission["id"], "object": "checkpoint.permission", "deleted": True}
    for path in ("", "/weights"):
        assert problem(neighbour.get(f"/v1/models/{model.name}{path}"), 404)["code"] == "model_not_found"
    assert model.name not in neighbour.get("/v1/models").text


def test_a_permitted_checkpoint_is_read_and_downloaded(ann, neighbour, epoch):
    problem(neighbour.get(f"/v1/models/{epoch.name}/weights"), 404)
    assert grant(ann, epoch).status_code == 200
    assert neighbour.get(f"/v1/models/{epoch.name}").json["id"] == epoch.name
    assert unpacked(neighbour.get(f"/v1/models/{epoch.name}/weights")) == {"adapter_config.json": b"{}"}


def test_whoever_may_use_a_model_may_neither_delete_nor_pass_it_on(ann, neighbour, model):
    [permission] = grant(ann, model).json["data"]
    assert "another project" in problem(neighbour.delete(f"/v1/models/{model.name}"), 403)["message"]
    for answer in (
        neighbour.get(url(model)),
        grant(neighbour, model),
        neighbour.delete(f"{url(model)}/{permission['id']}"),
    ):
        assert problem(answer, 404)["code"] == "model_not_found"
    assert ann.get(url(model)).json["data"] == [permission]


def test_the_jobs_and_files_behind_a_permitted_model_stay_sealed(ann, neighbour, model):
    grant(ann, model)
    problem(neighbour.get(f"/v1/fine_tuning/jobs/{model.job_id}"), 404)
    assert neighbour.get("/v1/files").json["data"] == []


def test_permissions_are_granted_once_and_answered_in_the_order_of_the_request(app, ann, neighbour, model):
    person(app, "ann-third", org="ann-org")
    first = grant(ann, model).json["data"]
    made = grant(ann, model, "ann-third", NEIGHBOUR, "ann-third").json
    assert [permission["project_id"] for permission in made["data"]] == ["ann-third", NEIGHBOUR]
    assert made["data"][1:] == first
    assert (made["object"], made["has_more"]) == ("list", False)
    assert len(ann.get(url(model)).json["data"]) == 2


@pytest.mark.parametrize("projects", [["bob"], ["nowhere"], [NEIGHBOUR, "bob"]])
def test_a_project_of_another_organization_looks_like_none_and_nothing_is_granted(ann, bob, neighbour, model, projects):
    error = problem(grant(ann, model, *projects), 400)
    assert error["param"] == "project_ids"
    assert error["message"] == f"Your organization has no project '{projects[-1]}'."
    assert ann.get(url(model)).json["data"] == []
    problem(bob.get(f"/v1/models/{model.name}"), 404)


@pytest.mark.parametrize(
    "body", [{}, {"project_ids": []}, {"project_ids": "a"}, {"project_ids": [1]}, {"project_ids": ["a"], "more": 1}]
)
def test_a_grant_that_makes_no_sense_is_refused(ann, model, body):
    problem(ann.post(url(model), body), 400)


def test_only_an_owner_grants_and_revokes_and_a_reader_may_look(app, ann, neighbour, model):
    writer = person(app, "ann", scopes=("read", "write"))
    problem(grant(writer, model), 403)
    [permission] = grant(ann, model).json["data"]
    problem(writer.delete(f"{url(model)}/{permission['id']}"), 403)
    assert writer.get(url(model)).json["data"] == [permission]


def test_a_base_model_and_an_unknown_one_have_no_permissions(ann, neighbour):
    for name in ("tiny/base", "tiny%2Fbase", "ft:none"):
        path = f"/v1/fine_tuning/checkpoints/{name}/permissions"
        assert problem(ann.post(path, {"project_ids": [NEIGHBOUR]}), 404)["code"] == "model_not_found"


def test_a_permission_that_is_gone_cannot_be_taken_back_again(ann, neighbour, model):
    [permission] = grant(ann, model).json["data"]
    ann.delete(f"{url(model)}/{permission['id']}")
    assert problem(ann.delete(f"{url(model)}/{permission['id']}"), 404)["param"] == "permission_id"


def test_permissions_are_listed_in_either_order_page_by_page_and_by_project(app, ann, model):
    projects = [f"ann-{number}" for number in range(5)]
    for project in projects:
        person(app, project, org="ann-org")
        grant(ann, model, project)
    listed = ann.get(url(model)).json
    assert [permission["project_id"] for permission in listed["data"]] == projects[::-1]
    assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][-1]["id"])
    for order, expected in (("ascending", projects), ("descending", projects[::-1])):
        walked, after = [], {}
        while True:
            page = ann.get(url(model), order=order, limit=2, **after).json
            walked += [permission["project_id"] for permission in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert walked == expected
    assert [p["project_id"] for p in ann.get(url(model), project_id="ann-3").json["data"]] == ["ann-3"]
    assert ann.get(url(model), project_id="nobody").json["data"] == []
    assert problem(ann.get(url(model), order="up"), 400)["param"] == "order"


def test_a_permission_of_another_model_is_no_place_in_this_list(app, ann, neighbour, model):
    other = tuned(ann)
    grant(ann, model)
    [foreign] = grant(ann, other).json["data"]
    assert ann.get(url(model), after=foreign["id"]).json["data"] == []
    assert ann.get(url(model), after=foreign["id"], order="asc").json["data"] == []


@pytest.fixture(scope="module")
def server(app, tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_the_official_client_grants_lists_and_revokes(server, ann, neighbour, model):
    with openai.OpenAI(
        api_key=ann.secret, base_url=f"{server.url}/v1", max_retries=0, _strict_response_validation=True
    ) as client:
        permissions = client.fine_tuning.checkpoints.permissions
        [made] = permissions.create(model.name, project_ids=[NEIGHBOUR])
        assert made.project_id == NEIGHBOUR
        assert [permission.id for permission in permissions.list(model.name, order="ascending", limit=1)] == [made.id]
        assert permissions.delete(made.id, fine_tuned_model_checkpoint=model.name).deleted is True
        assert list(permissions.list(model.name)) == []
