"""The whole embedded stack with a tiny random model, and jobs on it through the official client."""

import hashlib
import json
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import psutil
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from app.embedded.stack import Stack, as_shipped
from tests.services import eventually, scratch_directory
from tests.trainer.conftest import build_model, chat

SECONDS = 240
SETTINGS = {
    "LEASE_SECONDS": "10",
    "CLOCK_SECONDS": "0.5",
    "RETRY_SECONDS": "0.5",
    "CHECKPOINT_SECONDS": "0.5",
    "TRAINER_THREADS": "1",
    "FLOWER_BASIC_AUTH": "admin:for-tests",
}


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    with scratch_directory() as directory:
        (directory / "tiny").mkdir()
        build_model(directory / "tiny")
        (directory / "models.toml").write_text(
            '[[model]]\nname = "tiny"\naliases = ["gpt-4o-mini-2024-07-18"]\nsource = "./tiny"\ncontext_length = 64\n'
            "learning_rate = { lora = 0.01, full = 0.001 }\n"
        )
        yield directory


def new_stack(folder: Path, name: str = "stack") -> Stack:
    settings = {**as_shipped(), **SETTINGS, "MODELS_FILE": str(folder / "models.toml")}
    return Stack(folder / name, settings=settings, durable=False)


@pytest.fixture(scope="package")
def stack(folder: Path) -> Iterator[Stack]:
    with new_stack(folder) as running:
        yield running


@pytest.fixture(scope="package")
def client(stack: Stack) -> OpenAI:
    return client_of(stack)


def client_of(stack: Stack) -> OpenAI:
    return OpenAI(base_url=stack.base_url, api_key=stack.api_key)


def upload(client: OpenAI, rows: list[dict[str, object]]) -> str:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return client.files.create(file=("rows.jsonl", content), purpose="fine-tune").id


@pytest.fixture(scope="package")
def start(client: OpenAI) -> Callable[..., FineTuningJob]:
    """Create the job that every test disturbs in its own way; the same seed, so the same weights."""
    training = upload(client, [chat(place) for place in range(40)])
    validation = upload(client, [chat(place) for place in range(100, 104)])

    def create(*, model: str = "tiny", **hyperparameters: Any) -> FineTuningJob:
        given: Any = {"n_epochs": 30, "batch_size": 4, **hyperparameters}
        return client.fine_tuning.jobs.create(
            model=model,
            training_file=training,
            validation_file=validation,
            seed=11,
            method={"type": "supervised", "supervised": {"hyperparameters": given}},
        )

    return create


def until(client: OpenAI, job: FineTuningJob, reached: Callable[[FineTuningJob], object]) -> FineTuningJob:
    seen = [job]

    def look() -> object:
        seen[0] = client.fine_tuning.jobs.retrieve(job.id)
        return reached(seen[0]) or seen[0].status in ("failed", "cancelled", "succeeded")

    eventually(look, seconds=SECONDS)
    assert reached(seen[0]), seen[0]
    return seen[0]


def step(client: OpenAI, job: FineTuningJob) -> int:
    """The newest step that the job has told of; its events are younger than its progress."""
    newest = client.fine_tuning.jobs.list_events(job.id, limit=10).data
    steps = [cast("dict[str, int]", event.data)["step"] for event in newest if event.type == "metrics"]
    return max(steps, default=0)


def succeeded(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    return until(client, job, lambda job: job.status == "succeeded")


def messages(client: OpenAI, job: FineTuningJob) -> list[str]:
    page = client.fine_tuning.jobs.list_events(job.id, limit=100)
    return [event.message for event in page]


def trainers(stack: Stack) -> list[psutil.Process]:
    """The processes that train, or stand by to."""
    found = []
    for pid in stack.pids("trainer"):
        try:
            process = psutil.Process(pid)
            if "workers.trainer" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def pool_child(stack: Stack) -> psutil.Process:
    """The process that supervises the trainer."""
    parent = trainers(stack)[0].parent()
    assert parent is not None
    return parent


def weights(stack: Stack, model: str, target: Path) -> dict[str, str]:
    """SHA-256 of every file of a model's archive, by name."""
    request = urllib.request.Request(
        f"{stack.base_url}/models/{quote(model, safe='')}/weights", headers={"Authorization": f"Bearer {stack.api_key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer, tarfile.open(fileobj=answer, mode="r|*") as archive:
        archive.extractall(target, filter="data")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in target.rglob("*") if path.is_file()}


@pytest.fixture(scope="package")
def undisturbed(stack: Stack, client: OpenAI, start: Callable[..., FineTuningJob]) -> FineTuningJob:
    return succeeded(client, start())
