"""Weights of one's own: announced, sent without a key, looked at, and then a model like the tuned ones."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.actions import models as catalogue
from app.actions import own_weights
from app.blobs import storage as blobs
from app.store import models, paths
from app.store.db import transaction
from tests.core.weights import ADAPTER, CONFIG, file
from tests.dialects.conftest import JOBS, person, problem
from tests.dialects.fireworks import OK, Account, refused, train
from tests.dialects.test_fireworks_signed import announcing
from workers import clock, sweep
from workers.finalization import link_published

BASE_CONFIG = {"model_type": "llama", "vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2}
BASE = {
    "model.embed_tokens.weight": (400, 32),
    **{
        f"model.layers.{layer}.self_attn.{target}.weight": (width, 32)
        for layer in (0, 1)
        for target, width in (("q_proj", 32), ("v_proj", 16), ("k_proj", 16))
    },
}
Files = dict[str, bytes]
FILES: Files = {
    "adapter_config.json": json.dumps({**CONFIG, "base_model_name_or_path": "/elsewhere/tiny/base"}).encode(),
    "adapter_model.safetensors": file(ADAPTER, dtype="BF16"),
}
WHOLE: Files = {"config.json": json.dumps(BASE_CONFIG).encode(), "model.safetensors": file(BASE, dtype="F16")}
WAITS = "Its files have not come, or were not validated yet."
NAMED = {"peftDetails": {"baseModel": "gpt-4o-mini"}}


@pytest.fixture
def account(ann, storage) -> Account:
    for place in ("uploads", "weights"):
        shutil.rmtree(storage / place, ignore_errors=True)
    return Account(ann)


@pytest.fixture
def base(app) -> Iterator[Path]:
    """The base of both models of the catalogue, on this machine."""
    found = catalogue.catalogue().find("tiny/base")
    assert found is not None
    place = Path(found.source)
    place.mkdir()
    for name, content in WHOLE.items():
        (place / name).write_bytes(content)
    yield place
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


def begin(account: Account, model_id: str = "m", **model: Any) -> TestResponse:
    return account.post("models", {"modelId": model_id, "model": {**NAMED, **model}})


def announce(account: Account, sizes: dict[str, Any], model_id: str = "m") -> dict[str, str]:
    answer = account.post(f"models/{model_id}:getUploadEndpoint", {"filenameToSize": sizes})
    assert answer.status_code == 200, answer.text
    urls: dict[str, str] = answer.get_json()["filenameToSignedUrls"]
    return urls


def send(account: Account, files: Files, model_id: str = "m") -> None:
    for name, url in announce(account, {name: str(len(files[name])) for name in files}, model_id).items():
        assert account.put(url, files[name]).status_code == 200


def check(account: Account, model_id: str = "m") -> TestResponse:
    return account.get(f"models/{model_id}:validateUpload")


def ready(account: Account, model_id: str = "m", files: Files = FILES, **model: Any) -> Any:
    """A model of weights, as OpenAI's door lists it."""
    assert begin(account, model_id, **model).status_code == 200
    send(account, files, model_id)
    answer = check(account, model_id)
    assert answer.status_code == 200, answer.text
    return next(each for each in account.who.get("/v1/models").get_json()["data"] if f":{model_id}:" in each["id"])


def changed(**members: Any) -> Files:
    """The adapter, with other members of its configuration."""
    return {**FILES, "adapter_config.json": json.dumps({**CONFIG, **members}).encode()}


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
    assert "m" not in [each["id"] for each in account.who.get("/v1/models").json["data"]]
    assert "is not READY" in refused(train(account, warmStartFrom="m", trainingConfig={"baseModel": ""}), 400, 9)


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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pytorch_model.bin", "can run code"),
        ("a.PKL", "can run code"),
        ("modeling_llama.py", "can run code"),
        ("../config.json", "no folder"),
        ("original/a.safetensors", "no folder"),
        (".hidden", "begins with none of the signs"),
        ("ä.json", "cannot be a file"),
        ("x" * 129, "cannot be a file"),
    ],
)
def test_files_that_are_never_loaded_or_are_paths_are_refused_when_they_are_announced(account, name, words):
    begin(account)
    assert words in refused(account.post("models/m:getUploadEndpoint", {"filenameToSize": {name: 1}}), 400, 3)


def test_weights_are_bounded_in_number_and_in_bytes(account):
    begin(account)
    url = "models/m:getUploadEndpoint"
    with announcing(account, max_weights_files="2", max_weights_mb="1"):
        assert "1 to 2 files" in refused(account.post(url, {"filenameToSize": dict.fromkeys("abc", 1)}), 400, 3)
        assert "larger than 1 MB" in refused(account.post(url, {"filenameToSize": {"a": (1 << 20) + 1}}), 413, 3)
        announce(account, {"a": 1})
        refused(account.post(url, {"filenameToSize": {"b": 1 << 20}}), 413, 3)
        [most] = announce(account, {"b": "string"}).values()
        assert f"most={(1 << 20) - 1}&" in most


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


def test_whole_weights_are_of_the_one_base_that_is_like_them_or_of_the_one_that_is_named(account, base):
    begin(account, peftDetails={}, kind="HF_BASE_MODEL")
    send(account, WHOLE)
    assert "2 base models (tiny/base, big/base)" in refused(check(account), 400, 3)
    account.delete("models/m")
    ready(account, files=WHOLE, peftDetails={"baseModel": "big/base"})
    shown = account.get("models/m").json
    assert (shown["kind"], shown["contextLength"]) == ("HF_BASE_MODEL", 512)
    ready(account, "n", WHOLE, peftDetails={}, huggingFaceUrl="https://huggingface.co/tiny/base")
    assert account.get("models/n").json["status"] == OK
    halves: list[dict[str, Any]] = [{}, {}]
    for number, (name, shape) in enumerate(BASE.items()):
        halves[number % 2][name] = shape
    parts = {f"model-{number}.safetensors": file(half) for number, half in enumerate(halves)}
    index = {"weight_map": {name: f"model-{number}.safetensors" for number, half in enumerate(halves) for name in half}}
    sharded = {**parts, "config.json": WHOLE["config.json"]}
    ready(account, "o", {**sharded, "model.safetensors.index.json": json.dumps(index).encode()})
    begin(account, "p")
    send(account, {**sharded, "model.safetensors.index.json": b'{"weight_map": {"x": "model-0.safetensors"}}'}, "p")
    assert "looks for 'x' in model-0.safetensors" in refused(check(account, "p"), 400, 3)


def test_weights_of_a_base_that_lies_elsewhere_are_taken_by_its_name_and_the_answer_says_what_was_not_compared(account):
    begin(account)
    send(account, WHOLE)
    [told] = check(account).json["warnings"]
    assert "were not compared with those of tiny/base" in told
    begin(account, "n", peftDetails={})
    send(account, WHOLE, "n")
    assert "no base model that lies on this machine" in refused(check(account, "n"), 400, 3)


def test_a_base_that_was_fetched_from_the_hub_is_compared_with(account, base, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--some--base" / "snapshots" / "c0ffee"
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "models--some--base" / "refs").mkdir()
    (tmp_path / "models--some--base" / "refs" / "main").write_text("c0ffee")
    snapshot.symlink_to(base)
    rows = 'name = "some/base"\nsource = "some/base"\nlearning_rate = { lora = 1, full = 1 }\ncontext_length = 8\n'
    (tmp_path / "models.toml").write_text(f"[[model]]\n{rows}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "catalogue", lambda: catalogue.catalogues.load(tmp_path / "models.toml"))
        begin(account, peftDetails={})
        send(account, WHOLE)
        assert check(account).json["warnings"] == []


@pytest.mark.parametrize(
    ("files", "model", "words"),
    [
        (changed(use_dora=True), {}, "sets use_dora"),
        (changed(r=8), {}, "has the rank 4 and 4, and adapter_config.json says 8"),
        (FILES, {"peftDetails": {"r": 8}}, "says 4 of lora_rank; the model was announced with 8"),
        (FILES, {"kind": "HF_BASE_MODEL"}, "There is no config.json"),
        (WHOLE, {"kind": "HF_PEFT_ADDON"}, "There is no adapter_config.json"),
        (WHOLE, {"peftDetails": {"r": 4}}, "was announced as an adapter"),
        (changed(base_model_name_or_path="who/knows"), {"peftDetails": {}}, "names 'who/knows' as its base"),
        ({**FILES, "adapter_config.json": b"{"}, {}, "adapter_config.json is no JSON."),
        ({**FILES, "adapter_config.json": b"[]"}, {}, "is no JSON object"),
        ({**FILES, "adapter_config.json": b"[" * 100_000}, {}, "is no JSON."),
        ({**FILES, "adapter_config.json": b" " * (1 << 20) + b"{}"}, {}, "may have 1048576"),
        ({**FILES, "adapter_model.safetensors": b"{}"}, {}, "adapter_model.safetensors is no safetensors file"),
        ({**FILES, "adapter_model.safetensors": file({})}, {}, "has no tensors"),
        ({**WHOLE, "config.json": json.dumps({**BASE_CONFIG, "vocab_size": 8}).encode()}, {}, "vocab_size 8 instead"),
        ({**WHOLE, "model.safetensors": file({"x": (1,)})}, {}, "tensor of the base model alone"),
    ],
)
def test_what_is_wrong_is_said_and_can_be_mended(account, base, storage, files, model, words):
    begin(account, **model)
    send(account, files)
    assert words in refused(check(account), 400, 3)
    assert account.get("models/m").json["state"] == "UPLOADING"
    assert [part.key for part in blobs().stored("weights") if not (storage / part.key).is_dir()] == []
    if not model:
        send(account, FILES if "adapter_config.json" in files else WHOLE)
        assert check(account).status_code == 200


def test_what_is_missing_is_named_and_what_has_come_stays_when_it_is_announced_anew(account, storage):
    begin(account)
    assert "No files have come" in refused(check(account), 400, 9)
    name, content = "adapter_model.safetensors", FILES["adapter_model.safetensors"]
    before = announce(account, {file: len(content) for file, content in FILES.items()})
    assert account.put(before[name], content).status_code == 200
    assert "1 of 2 files of 'm' have not come: 'adapter_config.json'" in refused(check(account), 400, 9)
    config = FILES["adapter_config.json"] + b"\n"
    after = announce(account, {"adapter_config.json": len(config)})
    assert list(after) == ["adapter_config.json"]
    assert "awaited at this URL" in refused(account.put(before["adapter_config.json"], config[:-1]), 403, 7)
    clock.purge_uploads()
    assert account.put(after["adapter_config.json"], config).status_code == 200
    assert check(account).status_code == 200
    clock.purge_uploads()
    assert [path for path in (storage / "uploads").rglob("*") if path.is_file()] == []


def test_weights_that_are_never_validated_go_as_uploads_do(account, storage):
    begin(account)
    send(account, FILES)
    with transaction() as conn:
        conn.execute("update uploads set expires_at = now() - interval '3 hours' where status = 'pending'")
    clock.purge_uploads()
    assert [path for path in (storage / "uploads").rglob("*") if path.is_file()] == []
    assert "2 of 2 files" in refused(check(account), 400, 9)
    send(account, FILES)
    assert check(account).status_code == 200


def test_of_two_who_validate_at_once_both_are_told_that_it_is_done(account, storage, monkeypatch):
    begin(account)
    send(account, FILES)
    look = own_weights.inspection.look

    def late(own, files):
        seen = look(own, files)
        monkeypatch.setattr(own_weights.inspection, "look", look)
        assert check(account).status_code == 200
        return seen

    monkeypatch.setattr(own_weights.inspection, "look", late)
    assert check(account).status_code == 200
    assert len(list((storage / "weights").glob("*/*"))) == 1


def test_files_that_change_while_they_are_published_are_not(account, storage, monkeypatch):
    begin(account)
    urls = announce(account, {name: len(content) for name, content in FILES.items()})
    for name, content in FILES.items():
        account.put(urls[name], content)
    become = own_weights._become_model

    def late(*given):
        assert account.put(urls["adapter_config.json"], FILES["adapter_config.json"]).status_code == 200
        become(*given)

    with monkeypatch.context() as patch:
        patch.setattr(own_weights, "_become_model", late)
        assert "changed meanwhile" in refused(check(account), 400, 9)
    assert list((storage / "weights").glob("*/*")) == []
    assert check(account).status_code == 200


@pytest.mark.parametrize(("files", "precision"), [(FILES, "BF16"), (WHOLE, "FP16")])
def test_only_the_precision_that_weights_have_is_prepared(account, files, precision):
    begin(account)
    refused(account.post("models/m:prepare", {"precision": precision}), 400, 9)
    send(account, files)
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


def test_the_sweep_leaves_weights_that_are_a_models_and_takes_what_a_lost_validation_left(account):
    ready(account)
    blobs().put("weights/weights-lost/part/config.json", b"{}")
    assert "weights" in sweep.PLACES
    found = list(blobs().stored("weights"))
    assert len(found) == 1 + len(FILES)
    removed = sweep.remove_unnamed(found, before=datetime.now(UTC) + timedelta(days=1))
    assert removed == ["weights/weights-lost/part/config.json"]


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


def test_checks_that_are_to_be_left_out_are_named_and_made(account):
    begin(account)
    send(account, changed(use_dora=True))
    refused(account.get("models/m:validateUpload", configOnly="true"), 400, 3)
    send(account, FILES)
    told = account.get("models/m:validateUpload", skipHfConfigValidation="true", trustRemoteCode="true").json[
        "warnings"
    ]
    assert told[-1] == "Not used here: skipHfConfigValidation, trustRemoteCode."
