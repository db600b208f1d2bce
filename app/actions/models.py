"""What a caller may do with models: those of the catalogue, the project's tuned ones, and their checkpoints."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

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
    """A tuned model, or a checkpoint of a run, with the job that made it."""

    name: str
    job: Job
    made: Model | Checkpoint

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
        name, identity = self.job.spec["base"], self.job.spec.get("base_identity")
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
    tuned = Tuned(name, jobs.maker(conn, made.job_id), made)
    if tuned.base is None:
        raise _without_base(tuned)
    return tuned.base, tuned


def _without_base(tuned: Tuned) -> Invalid:
    base = tuned.job.spec["base"]
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
    return Tuned(name, jobs.maker(conn, made.job_id), made)


def delete(caller: Caller, name: str) -> Model:
    """Take a tuned model out of the API; the clock removes its weights.

    Raises Unknown, Forbidden for a base model and for another project's, and Invalid for a checkpoint.
    """
    caller.must("owner")
    if catalogue().find(name) is not None:
        raise Forbidden(f"{name} is a base model of this server: only tuned models can be deleted.", param="model")
    with transaction() as conn:
        tuned = _tuned(conn, caller, name)
        if tuned.job.project_id != caller.project_id:
            raise Forbidden(f"{name} belongs to another project, which alone can delete it.", param="model")
        if isinstance(tuned.made, Checkpoint):
            raise Invalid(f"{name} is a checkpoint: only tuned models can be deleted.", param="model")
        return models.delete(conn, caller.project_id, name)
