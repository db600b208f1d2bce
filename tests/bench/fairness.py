"""Two organizations on one trainer: many jobs of one wait, and the other's only job comes along."""

import random
import statistics
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice

from openai import BadRequestError, OpenAI

from app.embedded.stack import ROOT, Stack, as_shipped
from tests.bench.customer import DATA, MODEL, await_that
from tests.bench.tables import Row, Say, at_most
from tests.chaos.tables import Tables
from tests.services import scratch_directory

MANY, SINGLES, WARM = 200, 5, 3
ROWS = 320
SEED = 7
GOAL = 1.0

TRAINED = "select active_seconds::float8 as seconds from jobs where org_id = %(org)s and status = 'succeeded'"
WAIT = """
    select extract(epoch from j.started_at - j.created_at)::float8 as waited,
           extract(epoch from j.started_at - min(e.created_at))::float8 as queued
      from jobs j join job_events e on e.job_id = j.id and e.data->>'status' = 'queued'
     where j.id = %(id)s group by j.id
"""


@dataclass(frozen=True)
class Wait:
    """Seconds until a job's first start: since it was created, and since it was queued for a trainer."""

    created: float
    queued: float


class Team:
    """An organization with a key of its own, and small jobs of a few steps."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.name = name
        create = [sys.executable, "-m", "app", "keys", "create", "--project", name, "--org", name, "--name", "bench"]
        key = subprocess.run(create, cwd=ROOT, env=stack.environment, check=True, capture_output=True, text=True).stdout
        client = OpenAI(base_url=stack.base_url, api_key=key.strip())
        with (DATA / "train.jsonl").open("rb") as file:
            rows = b"".join(islice(file, ROWS))
        self._training = client.files.create(file=("rows.jsonl", rows), purpose="fine-tune").id
        self._jobs = client.fine_tuning.jobs

    def create(self) -> str:
        """The id of a new job."""
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 4}}}
        return self._jobs.create(model=MODEL, training_file=self._training, method=method).id  # type: ignore[arg-type]

    def cancel(self, job_id: str) -> None:
        """Cancel a job, unless it has ended."""
        with suppress(BadRequestError):
            self._jobs.cancel(job_id)


def run(say: Say = print) -> list[Row]:
    """Measure on an embedded stack with the settings as shipped, and return the rows of the table.

    Raises StackError when a job does not go as it must.
    """
    with (
        scratch_directory() as scratch,
        Stack(scratch / "stack", settings=as_shipped()) as stack,
        closing(Tables(stack.environment["DATABASE_URL"])) as tables,
    ):
        return _measure(stack, tables, say)


def _measure(stack: Stack, tables: Tables, say: Say) -> list[Row]:
    """The single job's wait beside the length of a job, which is the time a trainer takes for it.

    Several single jobs one after the other, each created at a random moment of a job at work. While its file is
    validated a trainer may take one more job of the others: what it waits in the queue is shown apart.
    """
    many, other = Team(stack, "many"), Team(stack, "other")
    jobs = [many.create() for _ in range(MANY)]
    await_that(lambda: len(tables.rows(TRAINED, org=many.name)) >= WARM)
    chance = random.Random(SEED)
    waits: list[Wait] = []
    for _ in range(SINGLES):
        time.sleep(chance.uniform(0, _length(tables, many)))
        waits.append(_wait(tables, other.create()))
        say(f"  the single job began after {waits[-1].created:.2f} s, {waits[-1].queued:.2f} s of these in the queue")
    length = _length(tables, many)
    for job_id in reversed(jobs):
        many.cancel(job_id)
    what = f"{MANY} jobs against 1"
    return [
        Row(f"{what}: median length of a job", f"{length:.2f} s"),
        Row(f"{what}: create to start, median of {SINGLES}", f"{statistics.median(w.created for w in waits):.2f} s"),
        at_most(f"{what}: longest wait / length", max(w.created for w in waits) / length, GOAL, unit="times"),
        at_most(f"{what}: longest in the queue / length", max(w.queued for w in waits) / length, GOAL, unit="times"),
    ]


def _length(tables: Tables, team: Team) -> float:
    return statistics.median(row["seconds"] for row in tables.rows(TRAINED, org=team.name))


def _wait(tables: Tables, job_id: str) -> Wait:
    """Taken once the job has ended and its time is charged."""
    await_that(lambda: tables.rows("select 1 from jobs where id = %(id)s and finished_at is not null", id=job_id))
    row = tables.row(WAIT, id=job_id)
    assert row is not None
    return Wait(created=row["waited"], queued=row["queued"])
