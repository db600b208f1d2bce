"""The service against the bare trainer; pause and resume; interrupted runs against undisturbed ones.

One embedded stack with the settings as shipped, but resume points every few seconds, as the jobs are short; the demo's
model and rows, and the official client. Each measurement begins with a trainer that stands by, as on a service that has
been up for a minute.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from openai.types.fine_tuning import FineTuningJob

from app import config
from app.embedded.processes import StackError
from app.embedded.stack import ROOT, Stack, as_shipped
from tests.bench.customer import WATCH_SECONDS, Customer, await_that
from tests.bench.results import Comparison, Pair, Pause, Results
from tests.bench.tables import Say
from tests.services import scratch_directory
from workers import training
from workers.backends.child import environment

SHIPPED = config.load({})

LORA = {"n_epochs": 1, "batch_size": 16, "training_type": "lora"}
FULL = {"n_epochs": 1, "batch_size": 16, "training_type": "full"}
SETTINGS = {**as_shipped(), "CHECKPOINT_SECONDS": "3"}
PAIRS = 2
PAUSE_AT = (0.1, 0.3, 0.5)
KILL_AT = 0.65

Hyperparameters = Mapping[str, object]


def run(say: Say = print) -> Results:
    """Measure everything, saying each figure as it comes.

    Raises StackError when a job does not go as it must.
    """
    with scratch_directory() as scratch, Stack(scratch / "stack", settings=SETTINGS) as stack:
        bench = Bench(Customer(stack), scratch, say)
        pairs, undisturbed = bench.pairs()
        pauses, paused = bench.paused(LORA, PAUSE_AT)
        killed = bench.killed(LORA)
        comparisons = bench.compared("adapter", undisturbed, paused, killed)
        undisturbed = bench.undisturbed(FULL)
        _, paused = bench.paused(FULL, PAUSE_AT[-1:])
        killed = bench.killed(FULL)
        comparisons += bench.compared("full weights", undisturbed, paused, killed)
    return Results(pairs, pauses, comparisons)


class Bench:
    """The measurements on a running stack; what they leave lies in `scratch`."""

    def __init__(self, customer: Customer, scratch: Path, say: Say) -> None:
        self._customer, self._scratch, self._say = customer, scratch, say

    def pairs(self) -> tuple[list[Pair], str]:
        """The bare trainer and the service in turns, and the SHA-256 of the service's last adapter."""
        given = self._job_directory()
        pairs = []
        for number in range(1, PAIRS + 1):
            self._customer.await_standby()
            bare_seconds, bare = run_bare(given, self._scratch / f"bare-{number}")
            service_seconds, job = self._served(LORA)
            served = self._weights(job)
            pairs.append(Pair(service_seconds, bare_seconds, bare == served))
            self._say(f"  pair {number}: service {service_seconds:.1f} s, bare trainer {bare_seconds:.1f} s")
        return pairs, served

    def _job_directory(self) -> Path:
        """A copy of what the service gives its trainer: rows and spec."""
        job = self._customer.create(LORA)
        self._customer.until_share(job, 0)
        copy = self._scratch / "given"
        copy.mkdir()
        for name in ("spec.json", "train.jsonl", "valid.jsonl"):
            shutil.copyfile(self._customer.job_directory(job) / name, copy / name)
        self._customer.cancel(job)
        return copy

    def _served(self, hyperparameters: Hyperparameters) -> tuple[float, FineTuningJob]:
        """Seconds from create to succeeded, and the job."""
        self._customer.await_standby()
        began = time.monotonic()
        job = self._customer.until(self._customer.create(hyperparameters), "succeeded")
        return time.monotonic() - began, job

    def _weights(self, job: FineTuningJob) -> str:
        return self._customer.weights(job, self._scratch)

    def undisturbed(self, hyperparameters: Hyperparameters) -> str:
        """SHA-256 of the weights of a run that nobody interrupts."""
        return self._weights(self._served(hyperparameters)[1])

    def paused(self, hyperparameters: Hyperparameters, shares: tuple[float, ...]) -> tuple[list[Pause], str]:
        """A run that is paused at these shares of its steps: each pause, and the SHA-256 of the weights."""
        job = self._customer.create(hyperparameters)
        pauses = []
        for share in shares:
            self._customer.until_share(job, share)
            pauses.append(self._pause(job))
        return pauses, self._weights(self._customer.until(job, "succeeded"))

    def _pause(self, job: FineTuningJob) -> Pause:
        customer = self._customer
        trainer, (told, _) = customer.trainer(), customer.steps(job)
        asked_at = time.monotonic()
        customer.pause(job)
        trainer.wait()
        pause_seconds = time.monotonic() - asked_at
        customer.until(job, "paused")
        stopped, _ = customer.steps(job)
        customer.await_standby()
        asked_at = time.monotonic()
        customer.resume(job)
        await_that(lambda: customer.steps(job)[0] > stopped, every=WATCH_SECONDS)
        resume_seconds = time.monotonic() - asked_at
        repeated = stopped - customer.resumed_from(job)[-1]
        self._say(f"  paused at step {stopped} in {pause_seconds:.2f} s, the next step {resume_seconds:.2f} s after")
        return Pause(pause_seconds, stopped - told, resume_seconds, repeated)

    def killed(self, hyperparameters: Hyperparameters) -> str:
        """SHA-256 of the weights of a run whose trainer is killed with signal 9.

        Raises StackError when the run did not have to be resumed.
        """
        customer = self._customer
        job = customer.create(hyperparameters)
        customer.until_share(job, KILL_AT)
        await_that(lambda: customer.has_checkpoint(job))
        told, _ = customer.steps(job)
        customer.trainer().kill()
        job = customer.until(job, "succeeded")
        resumed_from = customer.resumed_from(job)
        if len(resumed_from) != 1:
            raise StackError(f"the job {job.id} was resumed {len(resumed_from)} times after its trainer was killed")
        self._say(f"  trainer killed after step {told}, resumed from step {resumed_from[0]}")
        return self._weights(job)

    def compared(self, weights: str, undisturbed: str, paused: str, killed: str) -> list[Comparison]:
        """Both interrupted runs beside the undisturbed one, by SHA-256."""
        ended = {"pause and resume": paused, "kill -9 of the trainer": killed}
        return [Comparison(weights, interruption, digest, undisturbed) for interruption, digest in ended.items()]


def run_bare(given: Path, directory: Path) -> tuple[float, str]:
    """Run the trainer by hand on a copy of a job directory: seconds, and the SHA-256 of its adapter.

    Raises StackError when it fails.
    """
    shutil.copytree(given, directory)
    threads = training.threads(SHIPPED, cores=training.cores())
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "workers.trainer", str(directory)],
        cwd=ROOT,
        env=environment(os.environ, threads=threads),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if ended.returncode:
        raise StackError(f"the bare trainer ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return seconds, hashlib.sha256((directory / "model" / "adapter_model.safetensors").read_bytes()).hexdigest()
