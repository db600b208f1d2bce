"""Does the demo do what it promises: prose before, right routes after, also on messages typed freely?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.core import catalogue
from app.core.hyperparameters import Hyperparameters, resolve
from app.embedded.demo.__main__ import BASE_MODEL, CATALOGUE, HYPERPARAMETERS, SEED

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tuned(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job directory of a finished LoRA run on the shipped rows."""
    job = tmp_path_factory.mktemp("job")
    for name in ("train.jsonl", "valid.jsonl"):
        (job / name).write_bytes((demo / name).read_bytes())
    (job / "spec.json").write_text(json.dumps(spec(demo)), "utf-8")
    trainer(str(job), stdin="")
    return job


def spec(task: Path) -> dict[str, Any]:
    return {
        "job_id": "ftjob-demo",
        "model": {"name": BASE_MODEL, "source": str(task / "model"), "revision": None, "context_length": 512},
        "tuned_model": "ft:tuneyard-tiny:demo::tickets",
        "method": "supervised",
        "hyperparameters": hyperparameters(task).as_dict(),
        "seed": SEED,
        "checkpoint_seconds": 60,
        "answers": 0,
        "environment": {},
    }


def hyperparameters(task: Path) -> Hyperparameters:
    """What the demo asks for, resolved as the service would."""
    base = catalogue.load(CATALOGUE).find(BASE_MODEL)
    assert base is not None
    rows = len((task / "train.jsonl").read_text("utf-8").splitlines())
    return resolve(HYPERPARAMETERS, base, method="supervised", rows=rows)


def trainer(*arguments: str, stdin: str) -> str:
    """Run the trainer as the child process that it is; returns its stdout."""
    ran = subprocess.run(
        [sys.executable, "-m", "workers.trainer", *arguments],
        cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1"}, input=stdin, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout


def exact(demo: Path, job: Path, name: str) -> tuple[int, int, int]:
    """Rows of the file, and how many the base and the tuned model answer exactly."""
    chats = [json.loads(line)["messages"] for line in (demo / name).read_text("utf-8").splitlines()]
    asked = "".join(json.dumps({"messages": chat[:-1]}) + "\n" for chat in chats)
    printed = trainer("--ask", str(demo / "model"), "--tuned", str(job / "model"), stdin=asked)
    answers = [json.loads(line) for line in printed.splitlines()]
    expected = [chat[-1]["content"] for chat in chats]
    base = sum(answer["base"] == wanted for answer, wanted in zip(answers, expected, strict=True))
    right = sum(answer["tuned"] == wanted for answer, wanted in zip(answers, expected, strict=True))
    return len(chats), base, right


def test_tuning_takes_validation_from_prose_to_at_least_95_percent(demo: Path, tuned: Path) -> None:
    rows, base, right = exact(demo, tuned, "valid.jsonl")

    assert rows == 100
    assert base <= 5
    assert right >= 95


def test_at_least_28_of_40_freely_written_messages_are_routed_exactly_right(demo: Path, tuned: Path) -> None:
    rows, base, right = exact(demo, tuned, "free.jsonl")

    assert rows == 40
    assert base <= 2
    assert right >= 28
