"""`estimated_finish` against the truth: jobs of many kinds on one stack, asked as a customer asks.

The error is that of a job's whole duration, from `started_at` to `finished_at`, as a quarter and a half of its steps
let it be foretold.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai.types.fine_tuning import FineTuningJob

from app.embedded.processes import StackError
from app.embedded.stack import Stack, as_shipped
from tests.bench.customer import DATA, Customer
from tests.bench.tables import Row, Say, at_most
from tests.services import scratch_directory

SHARES = (0.25, 0.5)
ERROR_GOAL = 15.0  # percent
LONG_ROW_CHATS = 7


@dataclass(frozen=True)
class Kind:
    """A job to foretell: rows of the demo, every `long`-th of them seven in one conversation; 0 for none."""

    name: str
    rows: int
    hyperparameters: dict[str, object]
    validated: bool = True
    long: int = 0


KINDS = [
    Kind("LoRA, 1 epoch", 1600, {"training_type": "lora", "n_epochs": 1, "batch_size": 16}),
    Kind("LoRA, 4 epochs, no validation", 400, {"training_type": "lora", "n_epochs": 4, "batch_size": 8}, False),
    Kind("full, 1 epoch, no validation", 2000, {"training_type": "full", "n_epochs": 1, "batch_size": 16}, False),
    Kind("full, 5 epochs", 360, {"training_type": "full", "n_epochs": 5, "batch_size": 8}),
    Kind("LoRA, eval_steps", 1100, {"training_type": "lora", "n_epochs": 1, "batch_size": 16, "eval_steps": 8}),
    Kind("full, long and short rows", 600, {"training_type": "full", "n_epochs": 1, "batch_size": 4}, long=4),
    Kind("LoRA, long and short rows, 2 epochs", 300, {"training_type": "lora", "n_epochs": 2, "batch_size": 4}, long=4),
]


@dataclass(frozen=True)
class Foretold:
    """What came of a job: its duration in seconds, and the error of its estimates at SHARES, percent of that."""

    name: str
    seconds: int
    errors: tuple[float, ...]

    @property
    def row(self) -> Row:
        errors = (f"{error:.1f} % at {share:.0%}" for error, share in zip(self.errors, SHARES, strict=True))
        return Row(f"{self.name}: {self.seconds} s", ", ".join(errors))


def run(say: Say = print) -> list[Row]:
    """Measure every kind of job and return the rows of the table.

    Raises StackError when a job does not succeed, or shows no estimate.
    """
    with scratch_directory() as scratch, Stack(scratch / "stack", settings=as_shipped()) as stack:
        customer = Customer(stack)
        measured = []
        for kind in KINDS:
            measured.append(_measured(customer, kind, scratch))
            say(f"  {measured[-1].row.what}: {measured[-1].row.figure}")
    rows = [one.row for one in measured]
    for place, share in enumerate(SHARES):
        what = f"median error of estimated_finish at {share:.0%} of the steps"
        error = statistics.median(one.errors[place] for one in measured)
        rows.append(at_most(what, error, ERROR_GOAL, unit="%") if place == 0 else Row(what, f"{error:.2f} %"))
    return rows


def _measured(customer: Customer, kind: Kind, scratch: Path) -> Foretold:
    training = scratch / "rows.jsonl"
    training.write_text("".join(json.dumps(row) + "\n" for row in _rows(kind)), "utf-8")
    job = customer.create(kind.hyperparameters, training=training, validated=kind.validated)
    estimates = [_estimate(customer.until_progress(job, share)) for share in SHARES]
    ended: Any = customer.until(job, "succeeded")
    seconds = ended.finished_at - ended.started_at
    errors = tuple(100 * abs(estimate - ended.finished_at) / seconds for estimate in estimates)
    return Foretold(kind.name, seconds, errors)


def _estimate(job: FineTuningJob) -> int:
    if job.estimated_finish is None:
        raise StackError(f"the job {job.id} shows no estimate")
    return job.estimated_finish


def _rows(kind: Kind) -> list[dict[str, Any]]:
    """The demo's rows, some of them joined to long conversations."""
    lines = iter((DATA / "train.jsonl").read_text("utf-8").splitlines())
    rows = []
    for number in range(kind.rows):
        chats = LONG_ROW_CHATS if kind.long and number % kind.long == 0 else 1
        rows.append({"messages": [turn for _ in range(chats) for turn in json.loads(next(lines))["messages"]]})
    return rows
