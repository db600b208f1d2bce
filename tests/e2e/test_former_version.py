"""The version before this one, on the schema of this one: alone, beside this one, and in turns with it.

Its code comes out of git, as it was before the newest migrations were added.
"""

import io
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from app.embedded import procfile
from app.embedded.processes import free_port
from app.embedded.stack import ROOT, Stack, as_shipped
from app.store.db import session
from tests.e2e.conftest import SETTINGS, client_of, step, succeeded, trainers, until, upload
from tests.services import eventually, is_gone
from tests.store import laws
from tests.trainer.conftest import chat

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MIGRATIONS = "app/store/migrations"
NEWEST = max(path.name[:4] for path in (ROOT / MIGRATIONS).glob("*.sql"))
"""The number that the newest migrations share."""

MIDDLE, LATE = 60, 160
LONG, SHORT = 30, 6  # epochs of 10 steps
UNDISTURBED_ATTEMPTS = 3  # validate, train, finalize
JOBS = 6


def git(*arguments: str) -> bytes:
    """What git says of this checkout; the test is skipped where there is none, or its history is cut off."""
    try:
        said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode().strip() or str(error)
        pytest.skip(f"git has not the version before (no checkout, or a shallow clone): {reason}")
    return said.stdout


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The former version's files."""
    if Path(git("rev-parse", "--show-toplevel").decode().strip()) != ROOT:
        pytest.skip("git has not the version before: this is no checkout of its own")
    added = git("log", "--diff-filter=A", "--format=%H", "--", f"{MIGRATIONS}/{NEWEST}_*.sql").decode().split()
    if not added:
        pytest.skip(f"no commit has added the migrations {NEWEST} yet")
    archive = git("archive", f"{added[-1]}~1")  # of a shallow clone this is not there
    tree = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(tree, filter="data")
    assert list(tree.glob(f"{MIGRATIONS}/*.sql"))
    assert not list(tree.glob(f"{MIGRATIONS}/{NEWEST}_*.sql"))
    return tree


def process(name: str, tree: Path, *, as_name: str = "", port: int = 0) -> str:
    """A line of a Procfile: a process of the Procfile of these files, run there."""
    settings = f"PYTHONPATH={shlex.quote(str(tree))}" + (f" PORT={port}" if port else "")
    command = procfile.read(tree / "Procfile")[name]
    shell = f"cd {shlex.quote(str(tree))} && export {settings} && exec {command}"
    return f"{as_name or name}: sh -c {shlex.quote(shell)}\n"


def fleet(tree: Path) -> str:
    return "".join(process(name, tree) for name in ("web", "worker", "trainer", "clock"))


@contextmanager
def running(folder: Path, name: str, processes: str) -> Iterator[Stack]:
    """A stack of these processes on a database that the present version has migrated."""
    path = folder / f"Procfile.{name}"
    path.write_text(process("release", ROOT) + processes)
    settings = {**as_shipped(), **SETTINGS, "FLOWER_BASIC_AUTH": "", "MODELS_FILE": str(folder / "models.toml")}
    with Stack(folder / name, settings=settings, procfile_path=path, durable=False) as stack:
        yield stack


def create(client: OpenAI, rows: str, *, epochs: int = LONG) -> FineTuningJob:
    hyperparameters: Any = {"n_epochs": epochs, "batch_size": 4}
    return client.fine_tuning.jobs.create(model="tiny", training_file=rows, seed=5, hyperparameters=hyperparameters)


def rows_of(client: OpenAI) -> str:
    return upload(client, [chat(place) for place in range(40)])


def kept(stack: Stack, *jobs: FineTuningJob) -> list[laws.Kept]:
    """The rows of jobs, of which the laws of the protocol hold."""
    with session(stack.environment["DATABASE_URL"]) as conn:
        found = list(laws.kept(conn, [job.id for job in jobs]).values())
    for one in found:
        laws.hold_of(one)
    return found


def runs_in(stack: Stack, name: str) -> set[str]:
    """The directories in which a process and all that it started run."""
    return {psutil.Process(pid).cwd() for pid in stack.pids(name)}


def test_the_version_before_trains_pauses_and_resumes_on_this_schema(folder, former):
    with running(folder, "former-alone", fleet(former)) as stack:
        client = client_of(stack)
        job = create(client, rows_of(client))
        until(client, job, lambda job: job.status == "running" and step(client, job) >= MIDDLE)
        assert {place for name in ("web", "worker", "trainer", "clock") for place in runs_in(stack, name)} == {
            str(former)
        }
        training = trainers(stack)
        client.fine_tuning.jobs.pause(job.id)
        until(client, job, lambda job: job.status == "paused")
        assert all(is_gone(process.pid) for process in training)
        client.fine_tuning.jobs.resume(job.id)
        ended = succeeded(client, job)
        assert client.models.retrieve(ended.fine_tuned_model).owned_by == "default"
        [one] = kept(stack, job)
        assert one.job["attempt"] == UNDISTURBED_ATTEMPTS + 1
        assert one.losses == 0


def test_the_version_before_refuses_to_migrate_this_schema(stack, former):
    command = [sys.executable, "-m", "app.store.migrate"]
    environment = {**stack.environment, "PYTHONPATH": str(former)}
    ended = subprocess.run(command, cwd=former, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "SchemaTooNew" in ended.stderr


def test_both_versions_side_by_side_train_every_job_once(folder, former):
    port = free_port()
    present = process("web", ROOT, as_name="web-present", port=port) + "".join(
        process(name, ROOT, as_name=f"{name}-present") for name in ("worker", "trainer", "clock")
    )
    with running(folder, "side-by-side", fleet(former) + present) as stack:
        clients = [client_of(stack), OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=stack.api_key)]
        rows = rows_of(clients[0])
        jobs = [create(clients[number % 2].with_options(max_retries=20), rows, epochs=SHORT) for number in range(JOBS)]
        trained_by = {"trainer": set(), "trainer-present": set()}

        def all_ended() -> bool:
            held = [
                (one.job["id"], one.job["lease_owner"]) for one in kept(stack, *jobs) if one.job["status"] == "running"
            ]
            for name, trained in trained_by.items():
                pids = {str(pid) for pid in stack.pids(name)}
                trained.update(job for job, owner in held if owner.split(":")[-2] in pids)
            return all(one.ended for one in kept(stack, *jobs))

        eventually(all_ended, seconds=240)
        ended = kept(stack, *jobs)
        assert [one.job["status"] for one in ended] == ["succeeded"] * JOBS
        assert [one.job["attempt"] for one in ended] == [UNDISTURBED_ATTEMPTS] * JOBS
        assert all(trained_by.values()), "both versions had a share"
        assert sorted(job for trained in trained_by.values() for job in trained) == sorted(job.id for job in jobs)


def test_a_job_goes_on_over_a_deploy_and_a_rollback(folder, former):
    with running(folder, "in-turns", fleet(former)) as stack:
        client = client_of(stack)
        job = create(client, rows_of(client))
        until(client, job, lambda job: step(client, job) >= MIDDLE)
    with running(folder, "in-turns", fleet(ROOT)) as stack:
        until(client_of(stack), job, lambda job: step(client_of(stack), job) >= LATE)
    with running(folder, "in-turns", fleet(former)) as stack:
        succeeded(client_of(stack), job)
        [one] = kept(stack, job)
    resumed = [event["message"] for event in one.events if event["message"].startswith("Resumed from the checkpoint")]
    assert len(resumed) == 2
    assert one.losses == 0
