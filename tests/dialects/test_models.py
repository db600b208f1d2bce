"""Models: those of the catalogue, tuned ones, checkpoints, their weights, and who would serve them."""

import io
import shlex
import tarfile

import pytest

from app.blobs import storage
from app.core.job import Model
from app.core.states import Outcome
from app.store import checkpoints, models
from app.store.db import transaction
from tests.dialects.conftest import Person, person, problem
from tests.store.conftest import checkpoint, claimed, finished, running

__all__ = ["checkpoint"]

WEIGHTS = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": bytes(range(256)) * 5000,
    "tokenizer/" + "n" * 120 + "/vocabulary.json": b"{}" * 300,
}


def tuned(who: Person, *, training_type: str = "lora", lora_rank: int = 4) -> Model:
    job = running(who.row(who.job()["id"]))
    adapter = {"lora_rank": lora_rank, "lora_alpha": 8.0, "lora_targets": ["q_proj", "v_proj"]}
    chosen = {"epochs": 1, "training_type": training_type, **adapter}
    made = {"hyperparameters": chosen, "metrics": {"valid_loss": 0.5}, "manifest_file": "file-m"}
    job = finished(claimed(finished(job, Outcome.DONE, result=made)), Outcome.DONE)
    path = f"jobs/{job.id}/a1/model"
    for name, content in WEIGHTS.items():
        storage().put(f"{path}/{name}", content)
    model = Model(
        name=f"ft:tiny/base:{job.org_id}::{job.id[-8:]}",
        project_id=job.project_id,
        org_id=job.org_id,
        job_id=job.id,
        base="tiny/base",
        path=path,
        manifest={},
        created_at=job.created_at,
    )
    with transaction() as conn:
        models.insert(conn, model)
    return model


@pytest.fixture
def model(ann) -> Model:
    return tuned(ann)


@pytest.fixture
def epoch(ann, checkpoint):
    adapter = {"lora_rank": 4, "lora_alpha": 8.0, "lora_targets": ["all-linear"]}
    made = {"hyperparameters": {"training_type": "lora", **adapter}}
    job = claimed(finished(claimed(ann.row(ann.job()["id"])), Outcome.DONE, result=made))
    made = checkpoint(job, 4, kind="epoch")
    made = type(made)(**{**vars(made), "name": f"ft:tiny/base:ann-org::{job.id[-8:]}:ckpt-step-4"})
    storage().put(f"{made.path}/adapter_config.json", b"{}")
    with transaction() as conn:
        return checkpoints.record(conn, job, made)


def test_the_list_holds_every_name_of_the_catalogue_and_the_projects_tuned_models(ann, model):
    listed = ann.get("/v1/models").json
    assert listed["object"] == "list"
    assert [item["id"] for item in listed["data"]] == [
        "tiny/base",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "big/base",
        model.name,
    ]
    assert [item["owned_by"] for item in listed["data"]] == ["tuneyard"] * 4 + ["ann-org"]
    assert all(isinstance(item["created"], int) for item in listed["data"])


@pytest.mark.parametrize("url", ["tiny/base", "tiny%2Fbase", "gpt-4o-mini"])
def test_a_base_model_is_found_by_name_or_alias_with_its_slash_encoded_or_not(ann, url):
    answer = ann.get(f"/v1/models/{url}").json
    assert answer["base_model"] == "tiny/base"
    assert answer["context_length"] == 512


@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_a_tuned_model_says_where_it_came_from_and_where_its_weights_are(ann, model, slash):
    answer = ann.get(f"/v1/models/{model.name.replace('/', slash)}").json
    assert answer["id"] == model.name
    assert answer["fine_tuning_job_id"] == model.job_id
    assert answer["base_model"] == "tiny/base"
    assert answer["metrics"] == {"valid_loss": 0.5}
    assert answer["manifest_file"] == "file-m"
    assert answer["weights"] == f"/v1/models/{model.name}/weights"


def test_a_checkpoint_of_a_running_job_is_a_model(ann, epoch):
    answer = ann.get(f"/v1/models/{epoch.name}").json
    assert answer["id"] == epoch.name
    assert answer["owned_by"] == "ann-org"
    assert answer["metrics"] == {"train_loss": 1.0}


def unpacked(answer):
    assert answer.status_code == 200, answer.text
    assert len(answer.data) == int(answer.headers["Content-Length"])
    with tarfile.open(fileobj=io.BytesIO(answer.data), mode="r:") as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def test_the_weights_come_as_a_tar_of_the_models_directory(ann, model):
    answer = ann.get(f"/v1/models/{model.name}/weights")
    assert answer.mimetype == "application/x-tar"
    assert unpacked(answer) == WEIGHTS


def test_the_same_weights_make_the_same_archive(ann, model):
    assert ann.get(f"/v1/models/{model.name}/weights").data == ann.get(f"/v1/models/{model.name}/weights").data


def test_the_weights_of_a_checkpoint_can_be_taken_too(ann, epoch):
    assert unpacked(ann.get(f"/v1/models/{epoch.name}/weights")) == {"adapter_config.json": b"{}"}


def test_a_base_model_has_no_weights_to_take(ann):
    assert "base model" in problem(ann.get("/v1/models/tiny/base/weights"), 400)["message"]


def test_weights_that_storage_lost_are_said_to_be_gone(ann, model):
    storage().delete_tree(model.path)
    problem(ann.get(f"/v1/models/{model.name}/weights"), 404)


def test_a_deleted_model_is_gone_at_once(ann, model):
    answer = ann.delete(f"/v1/models/{model.name.replace('/', '%2F')}")
    assert answer.json == {"id": model.name, "object": "model", "deleted": True}
    for again in (ann.get(f"/v1/models/{model.name}"), ann.delete(f"/v1/models/{model.name}")):
        error = problem(again, 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert len(ann.get("/v1/models").json["data"]) == 4


def test_only_an_owner_deletes_a_model(app, ann, model):
    writer = person(app, "ann", scopes=("read", "write"))
    problem(writer.delete(f"/v1/models/{model.name}"), 403)
    assert ann.get(f"/v1/models/{model.name}").status_code == 200


def test_a_base_model_cannot_be_deleted(ann):
    problem(ann.delete("/v1/models/tiny/base"), 403)
    problem(ann.delete("/v1/models/gpt-4o-mini"), 403)


def test_a_checkpoint_cannot_be_deleted(ann, epoch):
    problem(ann.delete(f"/v1/models/{epoch.name}"), 400)
    assert ann.get(f"/v1/models/{epoch.name}").status_code == 200


def test_an_unknown_model_is_unknown_everywhere(ann):
    for answer in (
        ann.get("/v1/models/ft:none"),
        ann.get("/v1/models/ft:none/weights"),
        ann.delete("/v1/models/ft:none"),
        ann.post("/v1/chat/completions", {"model": "ft:none", "messages": []}),
    ):
        error = problem(answer, 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")


def served(ann, name):
    error = problem(ann.post("/v1/chat/completions", {"model": name, "messages": []}), 404)
    assert error["code"] == "model_not_served"
    return shlex.split(error["message"].split("To serve it: ")[1])


def test_a_tuned_adapter_is_served_by_vllm_beside_its_base(ann, model):
    command = served(ann, model.name)
    assert command[:2] == ["vllm", "serve"]
    assert command[2].endswith("/model")
    assert "--enable-lora" in command
    assert command[command.index("--max-lora-rank") + 1] == "8"
    assert command[-1] == f"{model.name}={storage().path(model.path)}"


def test_of_a_checkpoint_the_weights_alone_are_served(ann, epoch):
    assert served(ann, epoch.name)[-1] == f"{epoch.name}={storage().path(epoch.path)}/weights"


def test_a_full_fine_tune_is_served_from_its_own_weights(ann):
    model = tuned(ann, training_type="full")
    weights = str(storage().path(model.path))
    assert served(ann, model.name) == ["vllm", "serve", weights, "--served-model-name", model.name]


def test_a_rank_between_those_that_vllm_knows_is_rounded_up(ann):
    command = served(ann, tuned(ann, lora_rank=33).name)
    assert command[command.index("--max-lora-rank") + 1] == "64"


def test_a_base_model_is_served_under_the_name_that_was_asked_for(ann):
    assert served(ann, "gpt-4o-mini")[-1] == "gpt-4o-mini"


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": 3}, {"model": "a\0"}, {"model": "m" * 600}])
def test_a_chat_with_no_usable_model_name_is_refused(ann, body):
    assert problem(ann.post("/v1/chat/completions", body), 400)["param"] == "model"
