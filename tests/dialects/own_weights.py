"""What the tests of weights of one's own share: files that are taken, their base, and the way to bring them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.actions import models as catalogue
from tests.core.weights import ADAPTER, CONFIG, file
from tests.dialects.fireworks import Account

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
