"""What dialects of named resources show: datasets, models, the files that they are made of, and the jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.hyperparameters import said
from app.core.listings import Fields


@dataclass(frozen=True)
class Shard:
    """A file that is announced to come; `bytes` is its exact size, None where that was not told.

    `part_id` is its id as a part of an upload.
    """

    name: str
    bytes: int | None
    part_id: str


def announced(shards: Mapping[str, Mapping[str, Any]]) -> list[Shard]:
    """Files as they are stored, in the order of their names."""
    return [Shard(name, shard["bytes"], shard["part_id"]) for name, shard in sorted(shards.items())]


def stored(shards: Sequence[Shard]) -> dict[str, dict[str, Any]]:
    """Files as they are stored."""
    return {each.name: {"bytes": each.bytes, "part_id": each.part_id} for each in shards}


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
        return announced(self.shards)


@dataclass(frozen=True)
class OwnWeights:
    """Weights that are on their way to be a model; `base` and `hyperparameters` are what their maker said of them.

    `upload_id` and `shards` are of all that was announced; `ignored` names what was said and nothing here uses.
    """

    id: str
    project_id: str
    base: str
    hyperparameters: dict[str, Any]
    ignored: list[str]
    upload_id: str | None
    shards: dict[str, dict[str, Any]]

    def announced(self) -> list[Shard]:
        """The files that were announced, in the order of their names."""
        return announced(self.shards)


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
    """A tuned model, or weights of one's own: `name` is the id that was chosen, else its `id`, which is its job's.

    `state` is `READY`, or `UPLOADING` for weights that have not become a model. `model` is its name at other doors,
    `job_name` the id of its job, chosen or not; "" where there is none. `hyperparameters` are those that its job
    resolved; of one's own weights those of their shape, before they are READY as their maker told it. `ignored` names
    what was said and nothing here uses, `warnings` what is to be said of the files.
    """

    name: str
    id: str
    state: str
    model: str
    base: str
    path: str
    job_name: str
    method: str
    hyperparameters: dict[str, Any]
    ignored: list[str]
    warnings: list[str]
    display_name: str
    description: str
    created_at: datetime
    updated_at: datetime

    @property
    def is_ready(self) -> bool:
        """Whether there are weights that jobs can go on from."""
        return self.state == "READY"


MODEL_FIELDS: Fields = {
    "name": str,
    "id": str,
    "state": str,
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
