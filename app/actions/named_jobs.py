"""What a caller may do with jobs under ids of its choice, which name datasets and models by their ids too."""

from dataclasses import replace

from app import queue
from app.actions import jobs, models
from app.actions.datasets import usable_id
from app.actions.jobs import Submission
from app.config import settings
from app.core import carveout, estimates
from app.core.caller import Caller
from app.core.errors import Invalid, Unknown, WrongState
from app.core.estimates import Range
from app.core.job import File, NewJob
from app.core.listings import Listed, Listing
from app.core.resources import NamedJob
from app.store import aliases, datasets, files, named_jobs, named_models
from app.store import jobs as job_rows
from app.store.db import Connection, Row, autocommit, transaction


def create(caller: Caller, new: NewJob, sent: Submission, *, start: str) -> NamedJob:
    """Make a job that names its files as datasets, and goes on from the tuned model `start` unless that is "".

    `new.model` is then the base that it has to be of, or "". Raises as `jobs.create` does, Unknown for a dataset that
    is not there, and WrongState for one without rows; the `param` of an error is a name of ours.
    """
    caller.must("write")
    for name, param in ((new.name, "jobId"), (new.model_name, "modelId")):
        if name is not None:
            usable_id(name, param=param)
    with transaction() as conn:
        resolved = replace(
            new,
            model=_continued(conn, caller, new.model, start) if start else new.model,
            training_file=_file(conn, caller, new.training_file, "training_file"),
            validation_file=new.validation_file and _file(conn, caller, new.validation_file, "validation_file"),
        )
    job = jobs.create(caller, resolved, sent)
    with autocommit() as conn:
        return named_jobs.get(conn, caller.project_id, job.spec["method"], job.id)


def _file(conn: Connection[Row], caller: Caller, name: str, param: str) -> str:
    """The file that a dataset is."""
    try:
        dataset = datasets.get(conn, caller.project_id, name)
    except Unknown as error:
        raise Unknown(error.message, param=param) from error
    if not dataset.is_ready:
        raise WrongState(f"The dataset '{dataset.name}' has no rows yet: upload them first.", param=param)
    return dataset.id


def _continued(conn: Connection[Row], caller: Caller, base: str, start: str) -> str:
    """The name at other doors of a tuned model to go on from."""
    try:
        model = named_models.get(conn, caller.project_id, start)
        name = model.model
        if not model.is_ready:
            raise WrongState(f"The model '{model.name}' is not READY: validate its files first.", param="start")
    except Unknown:
        name = start
    try:
        underneath, tuned = models.tunable(conn, caller, name)
    except Invalid as error:
        raise Invalid(error.message, param="start", code=error.code) from error
    if tuned is None:
        raise Invalid(f"'{start[:200]}' is a base model, and none that was tuned: name it as such.", param="start")
    wanted = models.catalogue().find(base)
    if wanted is not None and wanted.name != underneath.name:
        raise Invalid(
            f"'{start}' was tuned from {underneath.name}, and the base model that is named is {wanted.name}: leave one "
            "of the two out.",
            param="start",
        )
    return name


def page(caller: Caller, method: str, listing: Listing) -> Listed[NamedJob]:
    """A page of the project's jobs of a method. Raises Invalid as filters do."""
    caller.must("read")
    with autocommit() as conn:
        return named_jobs.page(conn, caller.project_id, method, listing)


def retrieve(caller: Caller, method: str, name: str) -> NamedJob:
    """The job of this id, chosen or not. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        return named_jobs.get(conn, caller.project_id, method, name)


def cancel(caller: Caller, method: str, name: str) -> None:
    """End a job; cancelling a cancelled one changes nothing. Raises Unknown, and WrongState when it ended otherwise."""
    jobs.cancel(caller, retrieve(caller, method, name).id)


def resume(caller: Caller, method: str, name: str) -> NamedJob:
    """Queue a paused job again, or take back a pause. Raises Unknown, and WrongState once it has ended."""
    jobs.resume(caller, retrieve(caller, method, name).id)
    return retrieve(caller, method, name)


def delete(caller: Caller, method: str, name: str) -> NamedJob:
    """Take a job out of doors with deletion, ended by that if it had not; its model stays. Returns its last state.

    Raises Unknown.
    """
    caller.must("write")
    with transaction() as conn:
        found = named_jobs.get(conn, caller.project_id, method, name)
        ended = job_rows.request_cancel(conn, caller.project_id, found.id)
        left = named_jobs.get(conn, caller.project_id, method, found.id)
        named_jobs.delete(conn, found.id)
        aliases.release(conn, "job", target=found.id)
    if ended is not None:
        queue.revoke(ended)
    return left


def metrics(caller: Caller, method: str, name: str) -> File:
    """The table of a job's metrics by step. Raises Unknown, and WrongState before there is one."""
    job = retrieve(caller, method, name)
    made = job.result.get("result_files")
    if not made:
        raise WrongState(f"The job '{job.name}' has no table of metrics yet: it is made with the model.")
    with autocommit() as conn:
        file = files.find(conn, caller.project_id, made[0])
    if file is None:
        raise Unknown(f"The table of metrics of the job '{job.name}' was deleted.")
    return file


def cost(job: NamedJob) -> Range | None:
    """What a job will have cost at its end, by the prices of the settings; None where its tokens are not known."""
    tokens = job.result.get("trained_tokens")
    if tokens is None:
        tokens = _expected_tokens(job)
    if tokens is None:
        return None
    prices = settings()
    hour, million = prices.price_per_trainer_hour, prices.price_per_million_tokens
    return estimates.cost(_duration(job), tokens, per_hour=hour, per_million_tokens=million)


def _expected_tokens(job: NamedJob) -> int | None:
    """Tokens of all epochs, once they were counted, of a job that has not ended."""
    counted = job.result.get("training")
    if counted is None or job.finished_at is not None:
        return None
    tokens: int = job.hyperparameters["epochs"] * carveout.trained_part(counted)["tokens"]
    return tokens


def _duration(job: NamedJob) -> Range | None:
    left = 0.0 if job.finished_at else job.progress.get("seconds_left")
    if left is None and job.progress.get("step"):  # it stands still
        step, steps = job.progress["step"], job.progress["total_steps"]
        left = job.active_seconds * (steps - step) / step
    if left is None:
        return None
    seconds = job.active_seconds + left
    return Range(seconds, seconds, seconds, "the job itself")
