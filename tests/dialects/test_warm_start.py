"""A create that names a tuned model: what the job takes over from it, and who may not go on from what."""

import json

import pytest

from app.blobs import storage
from app.store.db import transaction
from tests.dialects.conftest import JOBS, person, problem
from tests.dialects.test_dry_run import answer, forgotten
from tests.dialects.test_models import epoch, tuned
from tests.dialects.test_permissions import grant, neighbour
from tests.store.conftest import checkpoint

__all__ = ["checkpoint", "epoch", "forgotten", "neighbour"]

ADAPTER = {"training_type": "lora", "lora_rank": 4, "lora_alpha": 8.0, "lora_targets": ["q_proj", "v_proj"]}


@pytest.fixture
def model(ann):
    return tuned(ann)


def dpo(**hyperparameters):
    return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}


def test_an_adapter_is_gone_on_from_with_its_own_shape(ann, model):
    made = ann.job(model=model.name, method=dpo(training_type="auto", n_epochs=2, lora_dropout=0.1))
    assert (made["model"], made["parent_model"], made["base_model"]) == (model.name, model.name, "tiny/base")
    spec = ann.row(made["id"]).spec
    assert spec["hyperparameters"] == {**ADAPTER, "epochs": 2, "lora_dropout": 0.1}
    assert spec["start"] == {
        "name": model.name,
        "job_id": model.job_id,
        "path": model.path,
        "folder": "",
        "base_hash": None,
        "parents": [],
    }
    assert made["hyperparameters"]["lora_rank"] == 4
    events = ann.get(f"{JOBS}/{made['id']}/events").json["data"]
    assert f"Training goes on from {model.name}" in [event["message"] for event in events]


def test_a_full_model_is_gone_on_from_with_all_its_weights(ann):
    made = ann.job(model=tuned(ann, training_type="full").name)
    assert ann.row(made["id"]).spec["hyperparameters"] == {"training_type": "full"}


def test_a_checkpoint_is_gone_on_from_without_its_optimizer(ann, epoch):
    start = ann.row(ann.job(model=epoch.name)["id"]).spec["start"]
    assert (start["name"], start["job_id"]) == (epoch.name, epoch.job_id)
    assert (start["path"], start["folder"]) == (epoch.path, "weights")


def test_what_a_base_model_is_asked_for_is_no_warm_start(ann):
    made = ann.job(model="gpt-4o-mini")
    assert made["parent_model"] is None
    assert "start" not in ann.row(made["id"]).spec


def test_a_permitted_model_is_gone_on_from_until_the_permission_is_taken_back(ann, neighbour, model):
    unknown = problem(neighbour.create(model="ft:none"), 400)
    assert (unknown["param"], unknown["code"]) == ("model", "model_not_available")
    told = problem(neighbour.create(model=model.name), 400)
    assert told == {**unknown, "message": unknown["message"].replace("ft:none", model.name)}
    [permission] = grant(ann, model).json["data"]
    made = neighbour.job(model=model.name)
    ann.delete(f"/v1/fine_tuning/checkpoints/{model.name}/permissions/{permission['id']}")
    assert problem(neighbour.create(model=model.name), 400) == told
    assert neighbour.get(f"{JOBS}/{made['id']}").json["status"] == "validating_files"


def test_a_permitted_checkpoint_is_gone_on_from(ann, neighbour, epoch):
    problem(neighbour.create(model=epoch.name), 400)
    grant(ann, epoch)
    assert neighbour.job(model=epoch.name)["parent_model"] == epoch.name


def test_a_deleted_model_is_gone_on_from_no_more_and_a_repeated_create_still_finds_its_job(ann, model):
    body = {"model": model.name, "training_file": ann.file()}
    made = ann.post(JOBS, body, **{"Idempotency-Key": "once"}).json
    ann.delete(f"/v1/models/{model.name}")
    assert problem(ann.create(model=model.name), 400)["code"] == "model_not_available"
    assert ann.post(JOBS, body, **{"Idempotency-Key": "once"}).json["id"] == made["id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": "gone/base"}, "is not in this server's catalogue any more"),
        ({"base_identity": "0" * 16}, "means another model in this server's catalogue by now"),
        ({"base": "gpt-4o-mini", "base_identity": "0" * 16}, "means another model in this server's catalogue by now"),
        ({"base": "gpt-4o-mini", "base_identity": None}, "means another model in this server's catalogue by now"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_model_of_a_base_that_is_gone_or_another_one_by_now_is_refused(ann, model, change, words, dry_run):
    with transaction() as conn:
        changed = (json.dumps(change), model.job_id)
        conn.execute("update jobs set spec = spec || %s::jsonb where id = %s", changed)
    error = problem(ann.create(model=model.name, dry_run=dry_run), 400)
    assert (error["param"], error["code"]) == ("model", "base_model_not_available")
    assert words in error["message"]


def test_a_base_that_has_another_name_by_now_is_still_the_same(ann, model):
    with transaction() as conn:
        conn.execute("""update jobs set spec = spec || '{"base": "gpt-4o-mini"}' where id = %s""", (model.job_id,))
    assert ann.job(model=model.name)["base_model"] == "tiny/base"


def test_a_job_of_an_earlier_version_is_known_by_the_name_of_its_base(ann, model):
    with transaction() as conn:
        conn.execute("update jobs set spec = spec - 'base_identity' where id = %s", (model.job_id,))
    assert ann.job(model=model.name)["parent_model"] == model.name


@pytest.mark.parametrize(
    ("training_type", "asked", "words"),
    [
        ("lora", {"training_type": "full"}, "is a LoRA adapter, and goes on as one: leave it out"),
        ("lora", {"lora_rank": 8}, "has 4 already: leave it out"),
        ("lora", {"lora_alpha": 16}, "has 8.0 already: leave it out"),
        ("lora", {"lora_target_modules": ["all-linear"]}, "has ['q_proj', 'v_proj'] already: leave it out"),
        ("full", {"training_type": "lora"}, "LoRA on top of them is not supported"),
        ("full", {"lora_rank": 8}, "and no adapter: leave it out"),
    ],
)
def test_a_shape_that_the_model_has_not_is_refused_by_its_name_in_the_body(ann, training_type, asked, words):
    model = tuned(ann, training_type=training_type)
    [name] = asked
    for body, path in (
        ({"method": dpo(**asked)}, "method.dpo.hyperparameters"),
        ({"hyperparameters": asked}, "hyperparameters"),
        ({"hyperparameters": asked, "dry_run": True}, "hyperparameters"),
    ):
        error = problem(ann.create(model=model.name, **body), 400)
        assert error["param"] == f"{path}.{name}"
        assert error["message"].startswith(f"Invalid value for '{path}.{name}': ")
        assert words in error["message"]


def test_the_shape_that_the_model_has_may_be_asked_for(ann, model):
    asked = {"training_type": "lora", "lora_rank": 4, "lora_alpha": 8, "lora_target_modules": ["v_proj", "q_proj"]}
    made = ann.job(model=model.name, hyperparameters=asked)
    assert ann.row(made["id"]).spec["hyperparameters"] == ADAPTER


def test_the_parents_before_the_parent_are_known_by_name_and_hash(ann, model):
    second = ann.job(model=model.name)["id"]
    with transaction() as conn:
        environment = json.dumps({"start_hashes": {"adapter_model.safetensors": "f" * 64}, "model_hash": "e" * 64})
        made = json.dumps({"hyperparameters": ADAPTER})
        conn.execute("update jobs set environment = %s, result = %s where id = %s", (environment, made, second))
        conn.execute("update models set job_id = %s where name = %s", (second, model.name))
    start = ann.row(ann.job(model=model.name)["id"]).spec["start"]
    assert start["base_hash"] == "e" * 64
    hashes = {"adapter_model.safetensors": "f" * 64}
    assert start["parents"] == [{"model": model.name, "job_id": model.job_id, "sha256": hashes}]


def test_what_a_permitted_model_went_on_from_is_its_owners_alone(ann, neighbour, model):
    second = ann.job(model=model.name)["id"]
    with transaction() as conn:
        made = json.dumps({"hyperparameters": ADAPTER})
        conn.execute("update jobs set result = %s where id = %s", (made, second))
        conn.execute("update models set job_id = %s where name = %s", (second, model.name))
    grant(ann, model)
    assert neighbour.get(f"/v1/models/{model.name}").json["parent_model"] is None
    assert neighbour.row(neighbour.job(model=model.name)["id"]).spec["start"]["parents"] == []


def test_a_model_says_what_its_job_went_on_from(ann, model):
    assert ann.get(f"/v1/models/{model.name}").json["parent_model"] is None
    second = ann.job(model=model.name)["id"]
    with transaction() as conn:
        conn.execute("update models set job_id = %s where name = %s", (second, model.name))
    assert ann.get(f"/v1/models/{model.name}").json["parent_model"] == model.name


def test_a_dry_run_of_a_warm_start_has_the_training_type_of_its_parent(ann):
    model = tuned(ann, training_type="full")
    file = ann.file()
    ask = {"model": model.name, "training_file": file, "dry_run": True}
    assert ann.create(**ask).json["report"] is None
    answer(rows=100, tokens=5000, trained_tokens=1200, longest=90, cut_rows=0)
    told = ann.create(**ask).json
    assert (told["model"], told["parent_model"], told["base_model"]) == (model.name, model.name, "tiny/base")
    assert told["hyperparameters"]["training_type"] == "full"
    assert told["hyperparameters"]["learning_rate"] == 1e-4
    assert len(ann.get(JOBS).json["data"]) == 1


def test_a_file_is_counted_with_the_tokenizer_of_the_base_underneath(ann, bob, model):
    file = ann.file()
    told = ann.get(f"/v1/files/{file}/report", model=model.name).json
    assert told["model"] == "tiny/base"
    assert problem(bob.get(f"/v1/files/{bob.file()}/report", model=model.name), 400)["param"] == "model"


def test_nobody_of_another_organization_goes_on_from_a_model(app, ann, bob, model):
    assert problem(bob.create(model=model.name), 400)["code"] == "model_not_available"
    assert problem(person(app, "ann-other", org="ann-org").create(model=model.name), 400)["param"] == "model"
    assert storage().has_tree(model.path)
