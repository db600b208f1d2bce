"""Jobs on a stack: created and followed through the official client, with the trainer's process in view."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from app.embedded.demo.job import download, trainer_pid
from app.embedded.processes import StackError
from app.embedded.stack import ROOT, Stack

MODEL = "tuneyard-tiny"
DATA = ROOT / "deploy" / "demo"
SEED = 7
FOLLOW_SECONDS, WATCH_SECONDS = 0.25, 0.05
LIMIT_SECONDS = 600
QUIET_SECONDS, QUIET_PERCENT = 2.0, 5.0
NEWEST_EVENTS = 10
RESUMED = "Resumed from the checkpoint"


def await_that(condition: Callable[[], object], *, every: float = FOLLOW_SECONDS) -> None:
    """Look every so many seconds until the condition holds.

    Raises StackError after LIMIT_SECONDS.
    """
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"nothing happened for {LIMIT_SECONDS} s")
        time.sleep(every)


class Customer:
    """Somebody who has uploaded the demo's files and creates jobs from them, all with the same seed."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._jobs = OpenAI(base_url=stack.base_url, api_key=stack.api_key).fine_tuning.jobs
        self._training, self._validation = (self.upload(DATA / name) for name in ("train.jsonl", "valid.jsonl"))

    def upload(self, path: Path) -> str:
        """The id of the file."""
        client = OpenAI(base_url=self.stack.base_url, api_key=self.stack.api_key)
        with path.open("rb") as file:
            return client.files.create(file=file, purpose="fine-tune").id

    def create(
        self, hyperparameters: Mapping[str, object], *, training: Path | None = None, validated: bool = True
    ) -> FineTuningJob:
        """Create a job of the demo's model on the demo's files, or on other rows.

        Our hyperparameters go beyond the client's own.
        """
        return self._jobs.create(
            model=MODEL,
            training_file=self.upload(training) if training else self._training,
            validation_file=self._validation if validated else None,
            seed=SEED,
            method={"type": "supervised", "supervised": {"hyperparameters": cast(Any, hyperparameters)}},
        )

    def pause(self, job: FineTuningJob) -> None:
        self._jobs.pause(job.id)

    def resume(self, job: FineTuningJob) -> None:
        self._jobs.resume(job.id)

    def cancel(self, job: FineTuningJob) -> None:
        self._jobs.cancel(job.id)

    def until(self, job: FineTuningJob, status: str) -> FineTuningJob:
        """Follow the job until it has this status.

        Raises StackError when it ends with another.
        """
        found = [job]

        def ended() -> bool:
            found[0] = self._jobs.retrieve(job.id)
            return found[0].status in (status, "succeeded", "failed", "cancelled")

        await_that(ended)
        if str(found[0].status) != status:
            raise StackError(f"the job {job.id} is {found[0].status} instead of {status}: {found[0].error}")
        return found[0]

    def steps(self, job: FineTuningJob) -> tuple[int, int]:
        """The newest step that the job's events tell of, and all steps of the job; (0, 1) before the first."""
        page = self._jobs.list_events(job.id, limit=NEWEST_EVENTS).data
        told = [event.data for event in page if event.type == "metrics" and isinstance(event.data, dict)]
        return (told[0]["step"], told[0]["total_steps"]) if told else (0, 1)

    def until_share(self, job: FineTuningJob, share: float) -> None:
        """Follow a job until this share of its steps, 0..1, is taken."""

        def reached() -> bool:
            step, total = self.steps(job)
            return step > 0 and step / total >= share

        await_that(reached)

    def until_progress(self, job: FineTuningJob, share: float) -> FineTuningJob:
        """The job as it is when its progress first shows this share of its steps, 0..1."""
        found = [job]

        def reached() -> bool:
            found[0] = self._jobs.retrieve(job.id)
            progress = getattr(found[0], "progress", None) or {}
            return bool(progress.get("step", 0) >= share * progress.get("total_steps", math.inf))

        await_that(reached)
        return found[0]

    def has_checkpoint(self, job: FineTuningJob) -> bool:
        """Whether the job has a checkpoint that a customer may use, and so one to resume from."""
        return bool(self._jobs.checkpoints.list(job.id).data)

    def resumed_from(self, job: FineTuningJob) -> list[int]:
        """The steps that the job was resumed from, in order."""
        resumed = [event.data for event in self._events(job) if event.message.startswith(RESUMED)]
        return [data["step"] for data in reversed(resumed) if isinstance(data, dict)]

    def _events(self, job: FineTuningJob) -> Iterator[FineTuningJobEvent]:
        return iter(self._jobs.list_events(job.id, limit=100))

    def weights(self, job: FineTuningJob, scratch: Path) -> str:
        """SHA-256 of the weights of a job's model, as they are downloaded."""
        return download(self.stack, str(job.fine_tuned_model), scratch / job.id)

    def trainer(self) -> psutil.Process:
        """The process that trains, or stands by to.

        Raises StackError when there is none.
        """
        pid = trainer_pid(self.stack)
        if pid is None:
            raise StackError("no trainer runs")
        return psutil.Process(pid)

    def await_standby(self) -> None:
        """Wait until a trainer stands by: it is there, and has nothing left to do."""

        def quiet() -> bool:
            with suppress(StackError, psutil.NoSuchProcess):
                return bool(self.trainer().cpu_percent(interval=QUIET_SECONDS) < QUIET_PERCENT)
            return False

        await_that(quiet)

    def job_directory(self, job: FineTuningJob) -> Path:
        """Where the files lie that the trainer of a running job was given."""
        work = Path(self.stack.environment["WORK_DIR"])
        return next(path for path in work.iterdir() if path.name.startswith(f"{job.id}."))
