"""The things the service keeps: one frozen dataclass per table, no wire names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.core.states import TERMINAL, Desired, Status


@dataclass(frozen=True)
class NewJob:
    """What a caller asks for; every dialect's create ends in one of these.

    `name` and `model_name` are ids that the caller chose for the job, and for the model to come; `notes` are sentences
    on what of the request is not as it was asked. `chat_template` is Jinja text, used in place of the model's.
    `wandb` says where metrics are to go once there are integrations. `secrets` are kept sealed, by kind, never shown.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    method: str = "supervised"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] | None = None
    priority: int = 0
    name: str | None = None
    model_name: str | None = None
    display_name: str = ""
    notes: tuple[str, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    dry_run: bool = False
    chat_template: str | None = None
    wandb: Mapping[str, Any] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class Specified(Protocol):
    """What a worker takes up: a job, or a data report; `spec` names the files and the base model."""

    @property
    def id(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def spec(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Job:
    """A row of `jobs`: `spec` is what was asked, `result` what the stages made, `progress` the last beat's."""

    id: str
    project_id: str
    org_id: str
    queue: str
    priority: int
    status: Status
    desired: Desired
    attempt: int
    crashes: int
    lease_owner: str | None
    task_id: str | None
    spec: dict[str, Any]
    metadata: dict[str, str] | None
    environment: dict[str, Any] | None
    progress: dict[str, Any]
    result: dict[str, Any]
    error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    not_before: datetime
    active_seconds: float
    yields: bool

    @property
    def ended(self) -> bool:
        """Whether the job is in a state that it never leaves."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class Org:
    """An organization: `usage` is in trainer seconds of late; a limit of None is the service's, 0 is none."""

    id: str
    weight: float
    max_running: int | None
    max_waiting: int | None
    usage: float


@dataclass(frozen=True)
class Place:
    """Where a queued job stands: `position` from 1; its organization's jobs at work and their limit, 0 for none.

    `slots` trainers work in the queue now; `job_seconds` is the mean of its latest jobs, None before the first.
    """

    position: int
    running: int
    max_running: int
    slots: int
    job_seconds: float | None


@dataclass(frozen=True)
class Run:
    """What a succeeded job took: tokens seen, seconds of training, and its trainer's most memory, where it is known."""

    tokens: int
    seconds: float
    memory_bytes: int | None


@dataclass(frozen=True)
class Crowd:
    """What a new job of an organization would find in a queue; `job_seconds` is None before the first has ended."""

    waiting_own: int
    waiting: int
    running: int
    job_seconds: float | None


@dataclass(frozen=True)
class Event:
    """A line of a job's append-only log; `type` is `message` or `metrics`, `level` is `info`, `warn` or `error`."""

    id: int
    job_id: str
    level: str
    type: str
    message: str
    data: dict[str, Any] | None
    created_at: datetime


@dataclass(frozen=True)
class NewEvent:
    """An event as a worker reports it. An event with the same `once` is written once in the life of a job."""

    message: str
    level: str = "info"
    type: str = "message"
    data: Mapping[str, Any] | None = None
    once: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A published state of a run; `kind` is `epoch`, `resume` or `stop`. An epoch's and the best one are models."""

    id: str
    job_id: str
    attempt: int
    step: int
    kind: str
    name: str
    path: str
    best: bool
    metrics: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class File:
    """An uploaded or produced file; `path` is its key in storage, `bytes` its size. Most files never expire."""

    id: str
    project_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    path: str
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Upload:
    """A file that arrives in parts before `expires_at`; `bytes` is its announced size, `received` that of its parts.

    `lifetime` is how long the file that it becomes will live, in seconds; `part_ids` and `md5` say what it was made of.
    """

    id: str
    project_id: str
    filename: str
    purpose: str
    bytes: int
    mime_type: str
    lifetime: int | None
    status: str
    received: int
    part_ids: list[str] | None
    md5: str | None
    file_id: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Part:
    """A piece of an upload; `path` is its key in storage, `bytes` its size."""

    id: str
    upload_id: str
    bytes: int
    path: str
    created_at: datetime


@dataclass(frozen=True)
class DataReport:
    """A row of `reports`: `spec` is what is to be looked at, `content` what was found, None until it was."""

    id: str
    project_id: str
    spec: dict[str, Any]
    attempt: int
    content: dict[str, Any] | None


@dataclass(frozen=True)
class Model:
    """A model that a job has made, or a project's own weights; `path` is the storage prefix of its weights.

    Either `job_id` or `own_id` is None.
    """

    name: str
    project_id: str
    org_id: str
    job_id: str | None
    base: str
    path: str
    manifest: dict[str, Any]
    created_at: datetime
    own_id: str | None = None


@dataclass(frozen=True)
class Permission:
    """A project may use the tuned model, or the checkpoint, of this name, which another one made."""

    id: str
    model: str
    project_id: str
    created_at: datetime


@dataclass(frozen=True)
class Key:
    """An API key without its secret."""

    id: str
    project_id: str
    org_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    strict_status: bool
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
