"""Weights of one's own: announced, sent without a key, looked at, and then a model like the tuned ones."""

import pytest

from app.actions import own_weights
from app.store import models, paths
from app.store.db import transaction
from tests.dialects.conftest import JOBS, person, problem
from tests.dialects.fireworks import OK, Account, refused, train
from tests.dialects.own_weights import (
    FILES,
    WAITS,
    WHOLE,
    account,
    announce,
    base,
    begin,
    check,
    ready,
    send,
)
from workers import clock
from workers.finalization import link_published

__all__ = ["account", "base"]


def test_a_model_waits_for_its_files_and_says_what_was_not_used(account):
    sent = {
        "displayName": "Mine",
        "description": "Of 2024",
        "public": True,
        "contextLength": 0,
        "kind": "HF_PEFT_ADDON",
    }
    details = {"baseModel": "accounts/fireworks/models/gpt-4o-mini", "r": 4, "targetModules": ["v_proj", "q_proj"]}
    made = begin(account, peftDetails={**details, "mergeAddonModelName": "x"}, **sent).json
    assert {made.pop(name) for name in ("createTime", "updateTime")}
    assert made == {
        "name": "accounts/ann/models/m",
        "displayName": "Mine",
        "description": "Of 2024",
        "state": "UPLOADING",
        "status": {"code": "OK", "message": f"{WAITS} Not used here: public, mergeAddonModelName."},
        "kind": "HF_PEFT_ADDON",
        "peftDetails": {
            "baseModel": "accounts/fireworks/models/gpt-4o-mini",
            "r": 4,
            "targetModules": ["q_proj", "v_proj"],
        },
        "contextLength": 512,
    }
    assert account.get("models/m:getDownloadEndpoint").json == {"filenameToSignedUrls": {}}
    assert account.post("models/m:prepare", {"precision": "PRECISION_UNSPECIFIED"}).json == {}
    assert account.patch("models/m", {"displayName": "Ours"}).json["displayName"] == "Ours"
    [listed] = account.get("models", filter="state = UPLOADING").json["models"]
    assert listed["displayName"] == "Ours"
    assert "one of UPLOADING, READY" in refused(account.get("models", filter="state = DONE"), 400, 3)
    assert "m" not in [each["id"] for each in account.who.get("/v1/models").json["data"]]
    assert "is not READY" in refused(train(account, warmStartFrom="m", trainingConfig={"baseModel": ""}), 400, 9)


@pytest.mark.parametrize(
    "model",
    [
        None,
        {"peftDetails": None, "kind": None, "displayName": None, "huggingFaceUrl": "http://["},
        {"peftDetails": {"baseModel": None, "r": "0", "targetModules": None}},
    ],
)
def test_null_means_unset_and_what_is_no_url_names_no_base(account, model):
    made = account.post("models", {"modelId": "m", "model": model}).json
    assert (made["state"], "peftDetails" in made) == ("UPLOADING", False)


def test_an_upload_of_weights_is_none_of_files(account):
    begin(account)
    [url] = announce(account, {"config.json": 1}).values()
    upload = url.partition("/uploads/")[2].partition("/")[0]
    problem(account.who.post(f"/v1/uploads/{upload}/complete", {"part_ids": ["part_1"]}), 404)
    problem(account.who.post(f"/v1/uploads/{upload}/cancel"), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "modelId"),
        ({"modelId": "a/b"}, "modelId"),
        ({"modelId": "weights-1"}, "modelId"),
        ({"modelId": "m", "model": {"kind": "X"}}, "model.kind"),
        ({"modelId": "m", "model": {"kind": "EMBEDDING_MODEL"}}, "model.kind"),
        ({"modelId": "m", "model": {"peftDetails": {"baseModel": "nothing"}}}, "model.peftDetails.baseModel"),
        ({"modelId": "m", "model": {"peftDetails": {"r": -1}}}, "model.peftDetails.r"),
        ({"modelId": "m", "model": {"kind": "HF_BASE_MODEL", "peftDetails": {"r": 4}}}, "model.peftDetails"),
        ({"modelId": "m", "model": {"displayName": "x" * 64}}, "model.displayName"),
    ],
)
def test_a_model_that_cannot_be_is_refused_by_the_member_that_is_wrong(account, body, field):
    answer = account.post("models", body)
    refused(answer, 400, 3)
    assert answer.json["details"][0]["field"] == field


def test_an_id_is_taken_by_a_model_that_waits_and_free_again_when_it_is_gone(account):
    begin(account)
    refused(begin(account), 409, 6)
    assert account.delete("models/m").json == {}
    ready(account)
    refused(begin(account), 409, 6)
    assert account.delete("models/m").json == {}
    assert begin(account).status_code == 200


def test_only_so_many_models_of_a_project_wait_for_their_files(account, bob, monkeypatch):
    monkeypatch.setattr(own_weights, "WAITING_AT_MOST", 1)
    begin(account)
    assert "1 models wait" in refused(begin(account, "n"), 429, 8)
    assert begin(Account(bob), "n").status_code == 200
    account.delete("models/m")
    assert begin(account, "n").status_code == 200


@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize("kind", ["", "KIND_UNSPECIFIED", "HF_PEFT_ADDON"])
def test_an_adapter_is_a_model_at_every_door_once_its_files_were_looked_at(account, request, kind, with_base):
    if with_base:
        request.getfixturevalue("base")
    begin(account, kind=kind, description="Mine")
    send(account, {**FILES, "README.md": b"# Mine"})
    before = account.get("models/m").json
    told = check(account).json["warnings"]
    unused = "Kept and not used in training, which has the tokenizer and the chat template of tiny/base: README.md."
    assert told[0] == unused
    assert len(told) == 1 + (not with_base)
    assert check(account).json["warnings"] == told
    shown = account.get("models/m").json
    assert (shown["state"], shown["status"], shown["kind"]) == ("READY", OK, "HF_PEFT_ADDON")
    assert (shown["createTime"], shown["description"]) == (before["createTime"], "Mine")
    details = {"baseModel": "accounts/fireworks/models/base", "r": 4, "targetModules": ["q_proj", "v_proj"]}
    assert shown["peftDetails"] == details
    assert "fineTuningJob" not in shown
    urls = account.get("models/m:getDownloadEndpoint").json["filenameToSignedUrls"]
    assert {name: account.fetch(url).data for name, url in urls.items()} == {**FILES, "README.md": b"# Mine"}
    [listed] = [each for each in account.who.get("/v1/models").json["data"] if each["id"].startswith("ft:")]
    assert listed["id"].startswith("ft:tiny/base:ann-org:m:")
    found = account.who.get(f"/v1/models/{listed['id']}").json
    assert (found["base_model"], found["parent_model"], found["metrics"]) == ("tiny/base", None, {})
    assert found["hyperparameters"] == {"training_type": "lora", "lora_rank": 4, "lora_alpha": 8} | {
        "lora_target_modules": ["q_proj", "v_proj"]
    }
    assert account.who.get(found["weights"]).status_code == 200
    message = problem(account.who.post("/v1/chat/completions", {"model": listed["id"], "messages": []}), 404)["message"]
    assert "--enable-lora" in message


@pytest.mark.parametrize(("files", "precision"), [(FILES, "BF16"), (WHOLE, "FP16")])
def test_only_the_precision_that_weights_have_is_prepared(account, files, precision):
    begin(account)
    refused(account.post("models/m:prepare", {"precision": precision}), 400, 9)
    send(account, {**files, "extra.safetensors": b"none"})
    check(account)
    for wanted in ("", "PRECISION_UNSPECIFIED", precision):
        assert account.post("models/m:prepare", {"precision": wanted}).json == {}
    other = account.post("models/m:prepare", {"precision": "FP8"})
    assert f"those of 'm' are {precision}, and not FP8" in refused(other, 501, 12)


def test_a_job_goes_on_from_ones_own_adapter_with_its_shape_at_each_door(account):
    model = ready(account)
    made = train(account, "j", warmStartFrom="m", trainingConfig={"baseModel": ""}).json
    assert made["warmStartFrom"] == "accounts/ann/models/m"
    other = account.who.job(model=model["id"])
    assert (other["parent_model"], other["base_model"]) == (model["id"], "tiny/base")
    spec = account.who.row(other["id"]).spec
    shape = {"training_type": "lora", "lora_rank": 4, "lora_alpha": 8, "lora_targets": ["q_proj", "v_proj"]}
    assert spec["hyperparameters"] == shape
    with transaction() as conn:
        path = models.find(conn, "ann", model["id"]).path
    start = {"name": model["id"], "job_id": None, "path": path, "folder": "", "base_hash": None, "parents": []}
    assert spec["start"] == start
    assert problem(account.who.create(model=model["id"], hyperparameters={"lora_rank": 8}), 400)["param"] == (
        "hyperparameters.lora_rank"
    )
    whole = ready(account, "w", WHOLE)
    made = account.who.job(model=whole["id"])
    assert account.who.row(made["id"]).spec["hyperparameters"] == {"training_type": "full"}
    assert account.who.job(model=whole["id"], dry_run=True)["hyperparameters"] is not None


def test_a_deleted_model_of_ones_own_stays_for_the_job_that_needs_it_and_goes_then(account, storage):
    model = ready(account)
    link_published()
    shown = storage / "models" / "ann" / model["id"]
    assert (shown / "adapter_config.json").read_bytes() == FILES["adapter_config.json"]
    job = account.who.job(model=model["id"])
    [path] = (storage / "weights").glob("*/*")
    with transaction() as conn:
        key = path.relative_to(storage).as_posix()
        assert paths.needed(conn, {key, f"{key}/adapter_config.json"}) == {key}
    assert account.delete("models/m").json == {}
    refused(account.get("models/m"), 404, 5)
    clock.purge()
    assert (path.is_dir(), shown.exists()) == (True, False)
    account.who.post(f"{JOBS}/{job['id']}/cancel")
    clock.purge()
    assert not path.exists()


def test_weights_are_their_projects_alone(app, account, bob):
    begin(account, "waiting")
    model = ready(account)
    other = Account(bob)
    for path in ("m", "waiting", "m:validateUpload", "m:getDownloadEndpoint"):
        refused(other.get(f"models/{path}"), 404, 5)
    for path in ("m:prepare", "waiting:getUploadEndpoint"):
        refused(other.post(f"models/{path}", {"filenameToSize": {"a": 1}}), 404, 5)
    refused(other.delete("models/waiting"), 404, 5)
    refused(other.patch("models/waiting", {"displayName": "x"}), 404, 5)
    assert other.get("models").json["models"] == []
    problem(bob.get(f"/v1/models/{model['id']}"), 404)
    assert problem(bob.create(model=model["id"]), 400)["code"] == "model_not_available"
    grant = account.who.post(f"/v1/fine_tuning/checkpoints/{model['id']}/permissions", {"project_ids": ["bob"]})
    assert "was not tuned here" in problem(grant, 400)["message"]


def test_scopes_are_those_of_the_neighbours(app, account):
    reader = Account(person(app, "ann", scopes=("read",)))
    writer = Account(person(app, "ann", scopes=("read", "write")))
    refused(begin(reader), 403, 7)
    begin(writer)
    send(writer, FILES)
    refused(check(reader), 403, 7)
    refused(reader.post("models/m:getUploadEndpoint", {"filenameToSize": {"a": 1}}), 403, 7)
    refused(reader.post("models/m:prepare"), 403, 7)
    refused(reader.delete("models/m"), 403, 7)
    begin(writer, "n")
    assert writer.delete("models/n").json == {}
    check(writer)
    assert check(reader).status_code == 200
    refused(writer.delete("models/m"), 403, 7)
    refused(writer.post("models/m:getUploadEndpoint", {"filenameToSize": {"a": 1}}), 400, 9)
