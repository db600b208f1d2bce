"""What dialects of named resources show: datasets and their shards, tuned models, and the jobs that make them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.hyperparameters import said
from app.core.listings import Fields


@dataclass(frozen=True)
class Shard:
    """A piece of a dataset that is announced to come; `bytes` is its exact size, `part_id` its id in storage."""

    name: str
    bytes: int
    part_id: str


@dataclass(frozen=True)
class Dataset:
    """A training file, or one on its way to be: `name` is the id that its maker chose, else its `id`, its file's.

    `state` is `READY` once there is a file. `upload_id` and `shards` are of the latest announcement; `ignored` names
    what its maker said and nothing here uses. Counts are None where they are not known.
    """

    name: str
    id: str
    display_name: str
    format: str
    state: str
    bytes: int
    example_count: int | None
    ignored: list[str]
    created_by: str
    upload_id: str | None
    shards: dict[str, dict[str, Any]]
    created_at: datetime
    updated_at: datetime

    @property
    def is_ready(self) -> bool:
        """Whether there is a file that jobs can be trained with."""
        return self.state == "READY"

    def announced(self) -> list[Shard]:
        """The shards of the latest announcement, in the order of their names, which is that of their joining."""
        return [Shard(name, shard["bytes"], shard["part_id"]) for name, shard in sorted(self.shards.items())]


DATASET_FIELDS: Fields = {
    "name": str,
    "id": str,
    "display_name": str,
    "format": str,
    "state": str,
    "created_by": str,
    "bytes": int,
    "created_at": datetime,
    "updated_at": datetime,
}


@dataclass(frozen=True)
class NamedModel:
    """A tuned model: `name` is the id that its maker chose, else its job's; `model` is its name at other doors.

    `job_name` is the id of its job, chosen or not; `hyperparameters` are those that its job resolved.
    """

    name: str
    model: str
    base: str
    path: str
    job_id: str
    job_name: str
    method: str
    hyperparameters: dict[str, Any]
    display_name: str
    description: str
    created_at: datetime
    updated_at: datetime


MODEL_FIELDS: Fields = {
    "name": str,
    "model": str,
    "base": str,
    "job_name": str,
    "display_name": str,
    "description": str,
    "created_at": datetime,
    "updated_at": datetime,
}


STOPPING = "stopping"
"""The state of a job whose cancel was accepted while a worker still holds it."""


@dataclass(frozen=True)
class NamedJob:
    """A job: `name` is the id that its maker chose, else its `id`; what it names goes by chosen ids too.

    `state` is its status, or STOPPING. `base_model` is the last part of the name of what is tuned; `warm_start_from`
    the tuned model that training goes on from, or the name of it at other doors when it is no model of the project.
    What does not apply is "".
    """

    name: str
    id: str
    method: str
    state: str
    display_name: str
    dataset: str
    evaluation_dataset: str
    output_model: str
    base_model: str
    warm_start_from: str
    created_by: str
    spec: dict[str, Any]
    result: dict[str, Any]
    progress: dict[str, Any]
    error: dict[str, Any] | None
    active_seconds: float
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Those that the job resolved, before that those that were asked for; `auto` and None are left out."""
        return said(self.result.get("hyperparameters") or self.spec["hyperparameters"])


JOB_FIELDS: Fields = {
    "name": str,
    "id": str,
    "state": str,
    "display_name": str,
    "dataset": str,
    "evaluation_dataset": str,
    "output_model": str,
    "base_model": str,
    "warm_start_from": str,
    "created_by": str,
    "created_at": datetime,
    "updated_at": datetime,
}
