"""A job as the demo follows it: through the official client, with the trainer's process in view."""

import base64
import hashlib
import json
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import psutil
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from app.embedded.demo.screen import Screen
from app.embedded.processes import StackError
from app.embedded.stack import Stack

POLL_SECONDS = 0.25
EVENTS_SHOWN = 100


def trainer_pid(stack: Stack) -> int | None:
    """The trainer process below the trainer worker: it trains while a job runs there, and else stands by for the next.

    None while there is none, as when it was killed a moment ago.
    """
    for pid in stack.pids("trainer"):
        try:
            command = psutil.Process(pid).cmdline()
        except psutil.Error:
            continue
        if "workers.trainer" in command:
            return pid
    return None


class Follower:
    """Shows one job's events and progress until something comes true."""

    def __init__(self, client: OpenAI, screen: Screen, job: FineTuningJob) -> None:
        self._client, self._screen = client, screen
        self.job = job
        self._seen: set[str] = set()

    def progress(self) -> dict[str, Any]:
        """Step, total_steps, train_loss, tokens_per_second and seconds_left, as far as known."""
        return dict(getattr(self.job, "progress", None) or {})

    def share(self) -> float:
        """How much of the training is done, 0..1."""
        progress = self.progress()
        return (progress.get("step") or 0) / (progress.get("total_steps") or 1)

    def until(self, reached: Callable[[FineTuningJob], bool]) -> FineTuningJob:
        """Follow the job until `reached` is true of it.

        Raises StackError when the job ends otherwise.
        """
        while True:
            self.job = self._client.fine_tuning.jobs.retrieve(self.job.id)
            self._show_events()
            self._screen.progress(self.job.status, self.progress())
            if reached(self.job):
                return self.job
            if self.job.status in ("failed", "cancelled", "succeeded"):
                error = self.job.error.message if self.job.error else "too early for the demo"
                raise StackError(f"the job has {self.job.status}: {error}")
            time.sleep(POLL_SECONDS)

    def _show_events(self) -> None:
        page = self._client.fine_tuning.jobs.list_events(self.job.id, limit=EVENTS_SHOWN)
        new = [event for event in page.data if event.id not in self._seen]
        for event in reversed(new):
            self._seen.add(event.id)
            if event.type != "metrics":
                self._screen.event(event.message)

    def seconds(self) -> int:
        """From the start of the finished job to its end."""
        return int((self.job.finished_at or 0) - getattr(self.job, "started_at"))  # noqa: B009 (an extra field)

    def losses(self) -> tuple[float, float]:
        """Training loss of the first and of the last step, in nats per token."""
        encoded = self._client.files.content(self.job.result_files[0]).read()
        rows = base64.b64decode(encoded).decode().splitlines()
        return float(rows[1].split(",")[1]), float(rows[-1].split(",")[1])


def download(stack: Stack, model: str, target: Path) -> str:
    """Download a model's weights as an archive, unpack it, and return the SHA-256 of the safetensors inside."""
    request = Request(  # noqa: S310 (our own server)
        f"{stack.base_url}/models/{quote(model, safe='')}/weights", headers={"Authorization": f"Bearer {stack.api_key}"}
    )
    with urlopen(request, timeout=60) as answer, tarfile.open(fileobj=answer, mode="r|*") as archive:  # noqa: S310
        archive.extractall(target, filter="data")
    weights = sorted(target.rglob("*.safetensors"))
    if not weights:
        raise StackError(f"the archive of {model} holds no safetensors")
    return hashlib.sha256(b"".join(path.read_bytes() for path in weights)).hexdigest()


def answers(client: OpenAI, job: FineTuningJob) -> list[dict[str, Any]]:
    """The base-against-tuned answers that the job wrote."""
    content = client.files.content(getattr(job, "answers_file")).text  # noqa: B009 (an extra field)
    return [json.loads(line) for line in content.splitlines()]


def reason(error: Exception) -> str:
    """What went wrong, in a line; of a program that failed, its last one."""
    said = str(error)
    if isinstance(error, subprocess.CalledProcessError) and (last_words := str(error.stderr or "").split("\n")):
        said = f"{said} {next((line for line in reversed(last_words) if line.strip()), '')}"
    return " ".join(said.split()) or type(error).__name__
