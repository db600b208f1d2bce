"""What a new job will be: its base model and its spec, once everything that it names was found usable."""

import secrets
from typing import Any

from app.actions import starts
from app.actions.models import tunable
from app.config import settings
from app.core import chat_templates
from app.core.caller import Caller
from app.core.errors import Invalid
from app.core.hyperparameters import BaseModel
from app.core.job import NewJob
from app.store import files
from app.store.db import Connection, Row

MAX_SEED = 2**31 - 1


def planned(conn: Connection[Row], caller: Caller, new: NewJob) -> tuple[BaseModel, dict[str, Any]]:
    """The base model of a new job, and its spec.

    Raises Invalid for a model or file that cannot be used, Unfit for what a tuned model cannot honour.
    """
    if found := chat_templates.problem(new.chat_template):
        raise Invalid(f"The chat template cannot be taken: {found}", param="chat_template")
    base, tuned = tunable(conn, caller, new.model)
    _refuse_unusable_file(conn, caller, new.training_file, "training_file")
    if new.validation_file is not None:
        _refuse_unusable_file(conn, caller, new.validation_file, "validation_file")
    spec = _spec(new, base)
    if tuned is not None:
        spec["hyperparameters"] = starts.continued(new.hyperparameters, tuned)
        spec["start"] = starts.start(tuned, caller.project_id)
        if template := new.chat_template or tuned.chat_template:
            spec["chat_template"] = template
    return base, spec


def queue_of(base: BaseModel) -> str:
    """The queue in which the jobs of a base model wait for training."""
    return base.queue or settings().train_queue


def _refuse_unusable_file(conn: Connection[Row], caller: Caller, file_id: str, param: str) -> None:
    file = files.hold(conn, caller.project_id, file_id)
    if file is None:
        raise Invalid(f"No such File object: {file_id}", param=param)
    if file.purpose != "fine-tune":
        raise Invalid(
            f"The file {file_id} has the purpose '{file.purpose}'; training needs one with the purpose 'fine-tune'.",
            param=param,
        )


def _spec(new: NewJob, base: BaseModel) -> dict[str, Any]:
    return {
        "model": new.model,
        "base": base.name,
        "base_identity": base.identity,
        "training_file": new.training_file,
        "validation_file": new.validation_file,
        "suffix": new.suffix,
        "seed": secrets.randbelow(MAX_SEED + 1) if new.seed is None else new.seed,
        "method": new.method,
        "hyperparameters": dict(new.hyperparameters),
        **({"display_name": new.display_name} if new.display_name else {}),
        **({"notes": list(new.notes)} if new.notes else {}),
        **({"chat_template": new.chat_template} if new.chat_template else {}),
        **({"wandb": dict(new.wandb)} if new.wandb else {}),
    }
