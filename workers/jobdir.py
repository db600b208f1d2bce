"""The job directory, as the trainer reads it: spec, rows, and the checkpoint to go on from."""

import json
from datetime import UTC
from pathlib import Path
from typing import Any

from app.blobs import storage
from app.config import settings
from app.core import catalogue, names, retention
from app.core.errors import JobFailed
from app.core.hyperparameters import BaseModel
from app.core.job import DataReport, File, Job, Specified
from app.store import checkpoints, files
from app.store.db import autocommit

ROLES = {"training_file": "train.jsonl", "validation_file": "valid.jsonl"}
"""Which file of the job becomes which file of the directory."""

START = "start"
"""Where the weights lie that a job goes on from."""


def base_model(job: Specified) -> BaseModel:
    """The catalogue's entry of the job's base.

    Raises JobFailed when the catalogue lost it since the job was created.
    """
    found = catalogue.load(Path(settings().models_file)).find(job.spec["base"])
    if found is None:
        raise JobFailed(
            f"The base model {job.spec['base']} is not in this worker's catalogue any more.",
            code="model_not_available",
            param="model",
        )
    return found


def tuned_model(job: Job) -> str:
    """The name that the job's model will have."""
    return names.model_name(job.spec["base"], job.org_id, job.spec.get("suffix"), job.id)


def fetch_rows(job: Specified, directory: Path) -> dict[str, File]:
    """Copy the job's files into the directory; returns them by role.

    Raises JobFailed when the bytes of one are gone.
    """
    found: dict[str, File] = {}
    for role, name in ROLES.items():
        if job.spec.get(role) is None:
            continue
        with autocommit() as conn:
            file = files.of_job(conn, job.spec[role])
        if file is None or not file.path:
            raise JobFailed(f"The file {job.spec[role]} was deleted.", code="file_not_found", param=role)
        storage().fetch(file.path, directory / name)
        found[role] = file
    return found


def write_report_spec(report: DataReport, directory: Path, *, hyperparameters: dict[str, Any]) -> None:
    """Write as much of spec.json as counting tokens needs."""
    spec = {
        "job_id": report.id,
        "model": _model(base_model(report)),
        "tuned_model": "",
        "method": report.spec["method"],
        "hyperparameters": hyperparameters,
        "seed": report.spec.get("seed", 0),
        "chat_template": _own_template(report),
    }
    (directory / "spec.json").write_text(json.dumps(spec, indent=1), "utf-8")


def _model(base: BaseModel) -> dict[str, Any]:
    return {
        "name": base.name,
        "source": base.source,
        "revision": base.revision,
        "context_length": base.context_length,
    }


def _own_template(job: Specified) -> dict[str, Any] | None:
    """The chat template that came with the job, and the limits that it is rendered under."""
    source = job.spec.get("chat_template")
    if source is None:
        return None
    return {"source": source, "seconds": settings().template_seconds, "memory_mb": settings().template_mb}


def write_spec(job: Job, directory: Path, *, hyperparameters: dict[str, Any]) -> None:
    """Write spec.json; `hyperparameters` are resolved ones."""
    spec = {
        "job_id": job.id,
        "attempt": job.attempt,
        "created_at": job.created_at.astimezone(UTC).isoformat(),
        "model": _model(base_model(job)),
        "tuned_model": tuned_model(job),
        "method": job.spec["method"],
        "hyperparameters": hyperparameters,
        "seed": job.spec["seed"],
        "start": {**job.spec["start"], "path": START} if "start" in job.spec else None,
        "chat_template": _own_template(job),
        "checkpoint_seconds": settings().checkpoint_seconds,
        "answers": settings().answers,
        "environment": job.environment or {},
        "pace": job.progress.get("pace") or {},
    }
    (directory / "spec.json").write_text(json.dumps(spec, indent=1), "utf-8")


def fetch_start(job: Job, directory: Path) -> None:
    """Put the weights of the tuned model that the job goes on from in their place; a resume may need them too.

    Raises JobFailed when they are gone, StorageError when storage is away.
    """
    start = job.spec.get("start")
    if start is None:
        return
    if not storage().has_tree(start["path"]):
        raise JobFailed(
            f"The weights of {start['name']}, from which this job was to go on, are not in storage any more.",
            code="model_not_found",
            param="model",
        )
    storage().fetch_tree(start["path"], directory / START, below=start["folder"])


def keeps_best(job: Job) -> bool:
    """Whether the job's model is its best checkpoint."""
    return bool(job.result["hyperparameters"].get("keep_best"))


def fetch_checkpoints(job: Job, directory: Path) -> None:
    """Put the newest two checkpoints of earlier attempts in their places: the trainer takes the newest sound one.

    So is the best one that each of them names, where it is to become the model. Raises StorageError when storage is
    away.
    """
    with autocommit() as conn:
        known = checkpoints.resumable(conn, job.id)
    stored = [found for found in known if storage().has_tree(found.path)]
    for checkpoint in retention.needed(stored, keep_best=keeps_best(job)):
        target = directory / "checkpoints" / f"step-{checkpoint.step}"
        target.parent.mkdir(exist_ok=True)
        storage().fetch_tree(checkpoint.path, target)
