"""What a dry run says beside what the job then takes: jobs of growing lengths, each forecast from those before.

One embedded stack with the settings as shipped; each job begins with a trainer that stands by.
"""

from typing import Any

from openai import OpenAI

from app.embedded.stack import Stack, as_shipped
from tests.bench.customer import DATA, MODEL, Customer, await_that
from tests.bench.tables import Row, Say
from tests.services import scratch_directory

LORA = {"batch_size": 16, "training_type": "lora"}
TIMED_EPOCHS = (1, 2)
FORECAST_EPOCHS = (1, 3)
GOAL = 0.30


def run(say: Say = print) -> list[Row]:
    """Time two jobs, then forecast and run two more.

    Raises StackError when a job does not succeed.
    """
    with scratch_directory() as scratch, Stack(scratch / "stack", settings=as_shipped()) as stack:
        customer = Customer(stack)
        for epochs in TIMED_EPOCHS:
            say(f"  {epochs} epochs took {_trained(customer, epochs):.1f} s")
        rows = []
        for epochs in FORECAST_EPOCHS:
            forecast = _forecast(stack, epochs)
            seconds = _trained(customer, epochs)
            rows.append(_row(epochs, forecast, seconds))
            say(f"  {epochs} epochs: {forecast['expected']:.1f} s were forecast, {seconds:.1f} s it took")
    return rows


def _trained(customer: Customer, epochs: int) -> float:
    """Seconds of training of a job with so many epochs."""
    customer.await_standby()
    job: Any = customer.until(customer.create({**LORA, "n_epochs": epochs}), "succeeded")
    return float(job.active_seconds)


def _forecast(stack: Stack, epochs: int) -> dict[str, Any]:
    client = OpenAI(base_url=stack.base_url, api_key=stack.api_key)
    with (DATA / "train.jsonl").open("rb") as rows:
        training = client.files.create(file=rows, purpose="fine-tune").id
    told: list[Any] = []

    def known() -> bool:
        method: Any = {"type": "supervised", "supervised": {"hyperparameters": {**LORA, "n_epochs": epochs}}}
        dry: Any = client.fine_tuning.jobs.create(
            model=MODEL, training_file=training, method=method, extra_body={"dry_run": True}
        )
        told.append(dry)
        return dry.report is not None

    await_that(known)
    found: dict[str, Any] = told[-1].duration_seconds
    return found


def _row(epochs: int, forecast: dict[str, Any], seconds: float) -> Row:
    expected = forecast["expected"]
    figure = f"{expected:.1f} s ({forecast['low']:.1f} to {forecast['high']:.1f}) / {seconds:.1f} s"
    off = abs(expected - seconds) / seconds
    return Row(f"dry run / truth, {epochs} epochs", f"{figure}, {off:.0%} off", f"at most {GOAL:.0%}", off <= GOAL)
