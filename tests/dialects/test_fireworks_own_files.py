"""Files of weights of one's own: what they are is seen, what is wrong is said, and can be mended."""

import json
from typing import Any

import pytest

from app.actions import models as catalogue
from app.blobs import storage as blobs
from tests.core.weights import file
from tests.dialects.fireworks import OK, refused
from tests.dialects.own_weights import (
    BASE,
    BASE_CONFIG,
    FILES,
    WHOLE,
    account,
    announce,
    base,
    begin,
    changed,
    check,
    ready,
    send,
)
from tests.dialects.test_fireworks_signed import announcing

__all__ = ["account", "base"]


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


def test_all_that_a_trainer_left_beside_its_weights_is_named_at_once(account):
    begin(account)
    sizes = dict.fromkeys([*FILES, "training_args.bin", "optimizer.pt", "rng_state.pth"], 1)
    told = refused(account.post("models/m:getUploadEndpoint", {"filenameToSize": sizes}), 400, 3)
    assert told.startswith("Leave out 'optimizer.pt', 'rng_state.pth', 'training_args.bin': ")


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
    weight_map = {name: f"model-{number}.safetensors" for number, half in enumerate(halves) for name in half}
    index = {"metadata": {}, "weight_map": weight_map}
    sharded = {**parts, "config.json": WHOLE["config.json"]}
    ready(account, "o", {**sharded, "model.safetensors.index.json": json.dumps(index).encode()})
    begin(account, "q")
    few = {"metadata": {}, "weight_map": dict(list(weight_map.items())[1:])}
    send(account, {**sharded, "model.safetensors.index.json": json.dumps(few).encode()}, "q")
    stray = "model-0.safetensors has 'model.embed_tokens.weight', which model.safetensors.index.json does not look for"
    assert stray in refused(check(account, "q"), 400, 3)
    begin(account, "p")
    elsewhere = {"metadata": {}, "weight_map": {"x": "model-0.safetensors"}}
    send(account, {**sharded, "model.safetensors.index.json": json.dumps(elsewhere).encode()}, "p")
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
    begin(account, "n")
    send(account, WHOLE, "n")
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "catalogue", lambda: catalogue.catalogues.load(tmp_path / "models.toml"))
        assert "gpt-4o-mini is not in this server's catalogue any more" in refused(check(account, "n"), 400, 3)
        begin(account, peftDetails={})
        send(account, WHOLE)
        assert check(account).json["warnings"] == []


@pytest.mark.parametrize(
    ("files", "model", "words"),
    [
        (changed(use_dora=True), {}, "sets use_dora"),
        (changed(r=8), {}, "has the rank 4 and 4, and adapter_config.json says 8"),
        (FILES, {"peftDetails": {"r": 8}}, "says 4 of lora_rank; the model was announced with 8"),
        ({"model.safetensors": WHOLE["model.safetensors"]}, {"kind": "HF_BASE_MODEL"}, "There is no config.json"),
        (WHOLE, {"kind": "HF_PEFT_ADDON"}, "There is no adapter_config.json"),
        ({**WHOLE, **FILES}, {"kind": "HF_BASE_MODEL"}, "adapter_config.json beside whole weights"),
        (WHOLE, {"peftDetails": {"r": 4}}, "was announced as an adapter"),
        (changed(base_model_name_or_path="who/knows"), {"peftDetails": {}}, "names 'who/knows' as its base"),
        ({**FILES, "adapter_config.json": b"{"}, {}, "adapter_config.json is no JSON."),
        ({**FILES, "adapter_config.json": b"[]"}, {}, "is no JSON object"),
        ({**FILES, "adapter_config.json": b"[" * 100_000}, {}, "is no JSON."),
        ({**FILES, "adapter_config.json": b" " * (1 << 20) + b"{}"}, {}, "may have 1048576"),
        ({**FILES, "adapter_model.safetensors": b"{}"}, {}, "adapter_model.safetensors is no safetensors file"),
        ({**FILES, "adapter_model.safetensors": file({})}, {}, "has no tensors"),
        ({**FILES, "adapter_model.safetensors": file({"\ud800\0": (1,)})}, {}, "is no half of a LoRA module"),
        (changed(**{"\ud800\0": 1}), {}, "training here knows plain LoRA alone"),
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


def test_checks_that_are_to_be_left_out_are_named_and_made(account):
    begin(account)
    send(account, changed(use_dora=True))
    refused(account.get("models/m:validateUpload", configOnly="true"), 400, 3)
    send(account, FILES)
    told = account.get("models/m:validateUpload", skipHfConfigValidation="true", trustRemoteCode="true").json[
        "warnings"
    ]
    assert told[-1] == "Not used here: skipHfConfigValidation, trustRemoteCode."
