"""What a caller may do with the models that its project has tuned, under the ids that were chosen for them."""

from typing import IO

from app import blobs
from app.actions import models
from app.core.caller import Caller
from app.core.errors import Unavailable, Unknown
from app.core.listings import Listed, Listing
from app.core.resources import NamedModel
from app.store import named_models
from app.store.db import autocommit, transaction


def page(caller: Caller, listing: Listing) -> Listed[NamedModel]:
    """A page of the models that the project has tuned. Raises Invalid as filters do."""
    caller.must("read")
    with autocommit() as conn:
        return named_models.page(conn, caller.project_id, listing)


def retrieve(caller: Caller, name: str) -> NamedModel:
    """The model of this id. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        return named_models.get(conn, caller.project_id, name)


def change(caller: Caller, name: str, *, display_name: str | None, description: str | None) -> NamedModel:
    """Write what people call a model and say of it; None leaves what stands. Raises Unknown."""
    caller.must("write")
    with transaction() as conn:
        model = named_models.get(conn, caller.project_id, name)
        if display_name is not None or description is not None:
            named_models.describe(conn, model.model, display_name=display_name, description=description)
        return named_models.get(conn, caller.project_id, name)


def delete(caller: Caller, name: str) -> None:
    """Take a tuned model out of the API; the clock removes its weights. Raises Unknown."""
    models.delete(caller, retrieve(caller, name).model)


def context_length(model: NamedModel) -> int | None:
    """Tokens that the model reads at most, unless the catalogue lost its base model since."""
    base = models.catalogue().find(model.base)
    return base.context_length if base else None


def files(caller: Caller, name: str) -> tuple[str, dict[str, int]]:
    """The job that made a model, and the files of its weights with their sizes in bytes.

    Raises Unknown, and Unavailable when storage is away.
    """
    model = retrieve(caller, name)
    try:
        return model.job_id, dict(blobs.storage().tree(model.path))
    except (OSError, blobs.StorageError) as error:
        raise Unavailable(f"The weights of '{name}' cannot be read from storage.") from error


def permitted(project_id: str, job_id: str, name: str) -> IO[bytes]:
    """A file of a project's model, opened for whoever holds a permit. Raises Unknown, and Unavailable."""
    with autocommit() as conn:
        model = named_models.of_job(conn, project_id, job_id)
    if model is None:
        raise Unknown("The model was deleted.")
    try:
        return blobs.storage().open(f"{model.path}/{name}")
    except blobs.StorageError as error:
        raise Unavailable(f"'{name[:200]}' cannot be read from storage.") from error
