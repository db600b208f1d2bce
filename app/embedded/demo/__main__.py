"""`python -m app.embedded.demo`: the main job from upload to answers, on a stack of its own; ASK, FAST, KEEP apply."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import psutil
from openai import OpenAI, OpenAIError
from openai.types.fine_tuning import FineTuningJob, SupervisedHyperparametersParam

from app.core import catalogue
from app.embedded.demo.job import Follower, answers, download, reason, trainer_pid
from app.embedded.demo.screen import Screen
from app.embedded.processes import StackError, interrupt_on_signals
from app.embedded.stack import ROOT, Stack, as_shipped
from app.embedded.terminal import foreground

BASE_MODEL = "tuneyard-tiny"
TASK = ROOT / "deploy" / "demo"
CATALOGUE = ROOT / "deploy" / "models.toml"
SEED = 7
HYPERPARAMETERS: SupervisedHyperparametersParam = {"n_epochs": 1, "batch_size": 16}
SETTINGS = {**as_shipped(), "CHECKPOINT_SECONDS": "3", "CLOCK_SECONDS": "1", "RETRY_SECONDS": "1"}
PAUSE_AT, KILL_AT = 0.3, 0.6
ANSWERS_SHOWN = 5
EXPECTED = (OpenAIError, OSError, subprocess.CalledProcessError, tarfile.TarError)
INTRODUCTION = """\
The task: a customer's message in, {"team": "…", "urgency": "…"} out, to send it to the right people in time.
The base model answers in prose, since it never saw the task; a fine-tuned copy of it is to get it right.
"""


class Demo:
    """The demo on a running stack."""

    def __init__(self, stack: Stack, screen: Screen) -> None:
        self.stack, self.screen = stack, screen
        self.client = OpenAI(base_url=stack.base_url, api_key=stack.api_key)

    def run(self) -> None:
        """Show all of it."""
        self.clear()
        training, validation = self.upload()
        self.screen.headline(f"Create a fine-tuning job of {BASE_MODEL} and follow it")
        follower = self.create(training, validation, suffix="tickets")
        self.pause_and_resume(follower)
        self.kill(follower)
        job = follower.until(lambda job: job.status == "succeeded")
        with tempfile.TemporaryDirectory() as scratch:
            weights = Path(scratch) / "tuned"
            digest = download(self.stack, str(job.fine_tuned_model), weights)
            self.show_model(follower, digest)
            if not asked_for("FAST"):
                self.compare(training, validation, digest, Path(scratch))
            self.show_answers(job)
            if question := os.environ.get("ASK"):
                self.ask(question, weights)

    def clear(self) -> None:
        """Cancel what an interrupted demo left: its job would be trained first."""
        for job in self.client.fine_tuning.jobs.list(limit=100).data:
            if job.status not in ("succeeded", "failed", "cancelled"):
                self.screen.line(f"Cancelling {job.id}, left by an interrupted demo")
                self.client.fine_tuning.jobs.cancel(job.id)

    def upload(self) -> tuple[str, str]:
        """Upload both files; returns their ids."""
        self.screen.headline("Upload the training and validation files")
        ids = []
        for name in ("train.jsonl", "valid.jsonl"):
            with (TASK / name).open("rb") as file:
                uploaded = self.client.files.create(file=file, purpose="fine-tune")
            self.screen.line(f"  {name}: {uploaded.id}, {uploaded.bytes:,} bytes")
            ids.append(uploaded.id)
        return ids[0], ids[1]

    def create(self, training: str, validation: str, *, suffix: str) -> Follower:
        """Create the job and return who follows it."""
        job = self.client.fine_tuning.jobs.create(
            model=BASE_MODEL,
            training_file=training,
            validation_file=validation,
            suffix=suffix,
            seed=SEED,
            method={"type": "supervised", "supervised": {"hyperparameters": HYPERPARAMETERS}},
        )
        return Follower(self.client, self.screen, job)

    def pause_and_resume(self, follower: Follower) -> None:
        """Pause in the middle, show that the trainer is gone, and resume."""
        follower.until(lambda job: job.status == "running" and follower.share() >= PAUSE_AT)
        pid = self.trainer()
        self.screen.headline(f"Pause; the trainer is process {pid}")
        asked_at = time.monotonic()
        self.client.fine_tuning.jobs.pause(follower.job.id)
        follower.until(lambda job: str(job.status) == "paused")
        if psutil.pid_exists(pid):
            raise StackError(f"the job is paused, but its trainer {pid} still runs")
        seconds = time.monotonic() - asked_at
        self.screen.line(f"  paused after {seconds:.1f} s at step {follower.progress().get('step')}; {pid} is gone")
        self.screen.headline("Resume")
        self.client.fine_tuning.jobs.resume(follower.job.id)

    def kill(self, follower: Follower) -> None:
        """Kill the trainer as no deploy would, and leave the rest to the service."""
        follower.until(lambda job: job.status == "running" and follower.share() >= KILL_AT)
        pid = self.trainer()
        self.screen.headline(f"kill -9 {pid}, the trainer, at step {follower.progress().get('step')}")
        os.kill(pid, signal.SIGKILL)
        self.screen.line('  "Worker lost" is expected now; the job goes on from its last checkpoint without our help')

    def trainer(self) -> int:
        """The process that trains the running job.

        Raises StackError when there is none.
        """
        pid = trainer_pid(self.stack)
        if pid is None:
            raise StackError("no trainer runs, though the job is running")
        return pid

    def show_model(self, follower: Follower, digest: str) -> None:
        """Name, place, hash and losses of what was trained."""
        first, last = follower.losses()
        place = Path(self.stack.environment["STORAGE_URL"]) / "models" / "default" / str(follower.job.fine_tuned_model)
        self.screen.headline("The model")
        self.screen.line(f"  name     {follower.job.fine_tuned_model}")
        self.screen.line(f"  weights  {place}")
        self.screen.line(f"  loss     {first:.3f} at the first step, {last:.3f} at the last")
        self.screen.line(f"  SHA-256  {digest}  (paused, killed, recovered)")

    def compare(self, training: str, validation: str, digest: str, scratch: Path) -> None:
        """Run the same job undisturbed and compare the weights.

        Raises StackError when they differ.
        """
        self.screen.headline("Run the same job again, undisturbed")
        undisturbed = self.create(training, validation, suffix="undisturbed")
        job = undisturbed.until(lambda job: job.status == "succeeded")
        other = download(self.stack, str(job.fine_tuned_model), scratch / "undisturbed")
        steps = undisturbed.progress().get("total_steps")
        self.screen.line(f"  {steps} steps, from the start of the job to the model in {undisturbed.seconds()} s")
        self.screen.headline("Compare the weights")
        self.screen.line(f"  SHA-256  {digest}  (paused, killed, recovered)")
        self.screen.line(f"  SHA-256  {other}  (undisturbed)")
        if other != digest:
            raise StackError("the weights differ")
        self.screen.line("  equal, bit for bit")

    def show_answers(self, job: FineTuningJob) -> None:
        """Base against tuned on held-out prompts."""
        found = answers(self.client, job)
        self.screen.headline("Base against tuned, on held-out validation prompts")
        rows = len((TASK / "valid.jsonl").read_text().splitlines())
        self.screen.line(f"  Both were asked {len(found)} of the {rows} validation rows; the first {ANSWERS_SHOWN}:\n")
        for answer in found[:ANSWERS_SHOWN]:
            self.screen.line(f"  message   {answer['messages'][-1]['content']}")
            for who in ("expected", "base", "tuned"):
                self.screen.line(f"  {who:<9} {_short(answer[who])}")
            self.screen.line("")
        right = {who: sum(answer[f"{who}_exact"] for answer in found) for who in ("base", "tuned")}
        for who, count in right.items():
            self.screen.line(f"  exactly right, {who}: {count} of {len(found)} ({count / len(found):.0%})")

    def ask(self, question: str, weights: Path) -> None:
        """Answer a message with base and tuned model."""
        self.screen.headline("Your message")
        base = catalogue.load(CATALOGUE).models[BASE_MODEL]
        chat = json.dumps({"messages": [{"role": "user", "content": question}]})
        adapter = next(weights.rglob("*.safetensors")).parent
        command = [sys.executable, "-m", "workers.trainer", "--ask", base.source, "--tuned", str(adapter)]
        answered = subprocess.run(command, input=chat + "\n", capture_output=True, text=True, cwd=ROOT, check=True)
        answer = json.loads(answered.stdout.splitlines()[-1])
        self.screen.line(f"  message   {question}")
        self.screen.line(f"  base      {_short(answer['base'])}")
        self.screen.line(f"  tuned     {_short(answer['tuned'])}")


def asked_for(name: str) -> bool:
    """Whether an option is on in the environment: given, and not as 0 or no."""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else line[:99] + "…"


def _keep(stack: Stack, screen: Screen) -> None:
    screen.headline("The stack stays up until Ctrl-C")
    screen.line(f"  base_url {stack.base_url}")
    screen.line(f"  api_key  {stack.api_key}")
    signal.pause()


def _show(screen: Screen) -> None:
    screen.line(INTRODUCTION)
    screen.line("Starting PostgreSQL, Redis, web, workers and clock")
    with Stack(ROOT / ".data" / "demo", settings=SETTINGS, durable=False) as stack:
        Demo(stack, screen).run()
        if asked_for("KEEP"):
            _keep(stack, screen)


def main() -> int:
    """The exit status: 0, also when interrupted; 1 with one line when something went wrong."""
    interrupt_on_signals()
    screen = Screen()
    try:
        with foreground():
            _show(screen)
    except StackError as error:
        screen.line(f"tuneyard: {error}")
        return 1
    except EXPECTED as error:
        screen.line(f"tuneyard: {reason(error)}")
        return 1
    except KeyboardInterrupt:
        screen.line("\ninterrupted")
    screen.line("\nThe stack is stopped; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
