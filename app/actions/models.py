"""What a caller may do with models: those of the catalogue, the project's tuned and own ones, and checkpoints."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from app.config import settings
from app.core import catalogue as catalogues
from app.core.caller import Caller
from app.core.errors import Forbidden, Invalid
from app.core.hyperparameters import BaseModel
from app.core.job import Checkpoint, Job, Model
from app.store import jobs, models, permissions
from app.store.db import Connection, Row, autocommit, transaction


@cache
def catalogue() -> catalogues.Catalogue:
    """The base models of this process, read once. Raises CatalogueError."""
    return catalogues.load(Path(settings().models_file))


@dataclass(frozen=True)
class Base:
    """A base model under the name it was asked for, which may be an alias."""

    name: str
    model: BaseModel


@dataclass(frozen=True)
class Tuned:
    """A tuned model, a checkpoint of a run, or a project's own weights, with what is known of its making.

    `base_name` is of what was tuned, `base_identity` the catalogue's word for it then, which earlier versions did not
    keep; `base_hash` is of its weights. `hyperparameters` hold at least its shape. What only a job has is empty for
    one's own weights: `start`, what it went on from itself, by the hashes `start_hashes`; template, metrics, manifest.
    """

    name: str
    made: Model | Checkpoint
    project_id: str
    base_name: str
    base_identity: str | None
    hyperparameters: dict[str, Any]
    base_hash: str | None = None
    start: dict[str, Any] | None = None
    start_hashes: dict[str, str] | None = None
    chat_template: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    manifest_file: str | None = None

    @classmethod
    def of_job(cls, name: str, job: Job, made: Model | Checkpoint) -> "Tuned":
        """What a job has made."""
        environment = job.environment or {}
        return cls(
            name,
            made,
            project_id=job.project_id,
            base_name=job.spec["base"],
            base_identity=job.spec.get("base_identity"),
            hyperparameters=job.result.get("hyperparameters", {}),
            base_hash=environment.get("model_hash"),
            start=job.spec.get("start"),
            start_hashes=environment.get("start_hashes"),
            chat_template=job.spec.get("chat_template"),
            metrics=made.metrics if isinstance(made, Checkpoint) else job.result.get("metrics", {}),
            manifest_file=job.result.get("manifest_file"),
        )

    @classmethod
    def of_its_own(cls, model: Model) -> "Tuned":
        """A project's own weights."""
        told = model.manifest
        return cls(
            model.name,
            model,
            project_id=model.project_id,
            base_name=model.base,
            base_identity=told["base_identity"],
            hyperparameters=told["hyperparameters"],
        )

    @property
    def path(self) -> str:
        """The storage prefix of all that is kept of it."""
        return self.made.path

    @property
    def folder(self) -> str:
        """Where below `path` lies what an engine loads: a checkpoint has more to it."""
        return "weights" if isinstance(self.made, Checkpoint) else ""

    @property
    def weights(self) -> str:
        """The storage prefix of what an engine loads."""
        return str(PurePosixPath(self.path, self.folder))

    @property
    def base(self) -> BaseModel | None:
        """What was tuned, unless the catalogue lost it since, or means another model by its name."""
        name, identity = self.base_name, self.base_identity
        found = catalogue().find(name)
        if found is None:
            return None
        is_same = found.name == name if identity is None else found.identity == identity  # None: of an earlier version
        return found if is_same else None


def tunable(conn: Connection[Row], caller: Caller, name: str) -> tuple[BaseModel, Tuned | None]:
    """The base model of this name; or the tuned model, held until the transaction ends, with the base underneath.

    Raises Invalid.
    """
    base = catalogue().find(name)
    if base is not None:
        return base, None
    made = permissions.usable(conn, caller.project_id, name, hold=True)
    if made is None:
        raise Invalid(
            f"Model {name} is not available for fine-tuning or does not exist. "
            f"Available here: {', '.join(catalogue().names())}.",
            param="model",
            code="model_not_available",
        )
    tuned = _known(conn, name, made)
    if tuned.base is None:
        raise _without_base(tuned)
    return tuned.base, tuned


def _known(conn: Connection[Row], name: str, made: Model | Checkpoint) -> Tuned:
    if isinstance(made, Model) and made.job_id is None:
        return Tuned.of_its_own(made)
    assert made.job_id is not None
    return Tuned.of_job(name, jobs.maker(conn, made.job_id), made)


def _without_base(tuned: Tuned) -> Invalid:
    base = tuned.base_name
    lost = "means another model in this server's catalogue by now"
    if catalogue().find(base) is None:
        lost = "is not in this server's catalogue any more"
    return Invalid(
        f"{tuned.name} was tuned from {base}, which {lost}: it can be tuned further once the operator has put back "
        f"what it was. Available here: {', '.join(catalogue().names())}.",
        param="model",
        code="base_model_not_available",
    )


def listed(caller: Caller) -> tuple[list[Base], list[Model]]:
    """The base models under each of their names, and the tuned ones that the project may use, newest first."""
    caller.must("read")
    bases = [Base(name, model) for model in catalogue().models.values() for name in (model.name, *model.aliases)]
    with autocommit() as conn:
        return bases, models.listed(conn, caller.project_id)


def retrieve(caller: Caller, name: str) -> Base | Tuned:
    """The model of this name, when the project made it or may use it. Raises Unknown."""
    caller.must("read")
    base = catalogue().find(name)
    if base is not None:
        return Base(name, base)
    with autocommit() as conn:
        return _tuned(conn, caller, name)


def _tuned(conn: Connection[Row], caller: Caller, name: str) -> Tuned:
    made = permissions.usable(conn, caller.project_id, name)
    if made is None:
        raise models.unknown(name)
    return _known(conn, name, made)


def delete(caller: Caller, name: str) -> Model:
    """Take a tuned model out of the API; the clock removes its weights.

    Raises Unknown, Forbidden for a base model and for another project's, and Invalid for a checkpoint.
    """
    caller.must("owner")
    if catalogue().find(name) is not None:
        raise Forbidden(f"{name} is a base model of this server: only tuned models can be deleted.", param="model")
    with transaction() as conn:
        tuned = _tuned(conn, caller, name)
        if tuned.project_id != caller.project_id:
            raise Forbidden(f"{name} belongs to another project, which alone can delete it.", param="model")
        if isinstance(tuned.made, Checkpoint):
            raise Invalid(f"{name} is a checkpoint: only tuned models can be deleted.", param="model")
        return models.delete(conn, caller.project_id, name)
