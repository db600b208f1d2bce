"""What a caller may do with the models that its project has tuned or brought, under the ids that were chosen."""

from contextlib import suppress
from typing import IO

from app import blobs
from app.actions import models, own_weights
from app.core.caller import Caller
from app.core.errors import NotBuilt, Unavailable, Unknown, WrongState
from app.core.listings import Listed, Listing
from app.core.resources import NamedModel
from app.core.safetensors import Malformed, tensors
from app.store import named_models
from app.store import own_weights as own_rows
from app.store.db import autocommit, transaction


def page(caller: Caller, listing: Listing) -> Listed[NamedModel]:
    """A page of the models that the project has tuned or brought. Raises Invalid as filters do."""
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
        own = own_rows.hold(conn, caller.project_id, name)  # it may be about to be READY
        model = named_models.get(conn, caller.project_id, name)
        if display_name is not None or description is not None:
            if own is None:
                named_models.describe(conn, model.model, display_name=display_name, description=description)
            else:
                own_rows.describe(conn, own.id, display_name=display_name, description=description)
        return named_models.get(conn, caller.project_id, name)


def delete(caller: Caller, name: str) -> None:
    """Take a model out of the API; the clock removes its weights. Raises Unknown, and Forbidden as `models.delete`."""
    model = retrieve(caller, name)
    if model.is_ready:
        models.delete(caller, model.model)
    else:
        own_weights.delete(caller, name)


def context_length(model: NamedModel) -> int | None:
    """Tokens that the model reads at most, unless the catalogue lost its base model since."""
    base = models.catalogue().find(model.base)
    return base.context_length if base else None


def files(caller: Caller, name: str) -> tuple[str, dict[str, int]]:
    """A model's own id, and the files of its weights with their sizes in bytes; none before it is READY.

    Raises Unknown, and Unavailable when storage is away.
    """
    model = retrieve(caller, name)
    return model.id, _files(model) if model.is_ready else {}


def _files(model: NamedModel) -> dict[str, int]:
    try:
        return dict(blobs.storage().tree(model.path))
    except (OSError, blobs.StorageError) as error:
        raise Unavailable(f"The weights of '{model.name}' cannot be read from storage.") from error


PRECISIONS = {"F64": "FP64", "F32": "FP32", "F16": "FP16", "BF16": "BF16"}
"""Types of tensors, as callers name them."""


def prepare(caller: Caller, name: str, *, precision: str) -> None:
    """Have a model's weights in a precision, which they have to have already; "" is as they are.

    Raises Unknown, WrongState for a model that is not READY, NotBuilt for another precision, and Unavailable.
    """
    caller.must("write")
    model = retrieve(caller, name)
    if not precision:
        return
    if not model.is_ready:
        raise WrongState(f"The model '{model.name}' has no weights yet: validate its files first.")
    found = sorted({PRECISIONS.get(each, each) for each in _types(model)})
    if found != [precision]:
        raise NotBuilt(
            f"This server does not convert weights to other precisions: those of '{model.name}' are "
            f"{' and '.join(found) or 'unknown'}, and not {precision[:64]}."
        )


def _types(model: NamedModel) -> set[str]:
    """The types of a model's tensors."""
    found = set()
    for name, size in _files(model).items():
        if name.endswith(".safetensors"):
            try:
                with blobs.storage().open(f"{model.path}/{name}") as opened, suppress(Malformed):  # nobody loads that
                    found |= {tensor.dtype for tensor in tensors(opened, size).values()}
            except blobs.StorageError as error:
                raise Unavailable(f"The weights of '{model.name}' cannot be read from storage.") from error
    return found


def permitted(project_id: str, model_id: str, name: str) -> IO[bytes]:
    """A file of a project's model, opened for whoever holds a permit. Raises Unknown, and Unavailable."""
    with autocommit() as conn:
        model = named_models.find(conn, project_id, model_id)
    if model is None or not model.is_ready:
        raise Unknown("The model was deleted.")
    try:
        return blobs.storage().open(f"{model.path}/{name}")
    except blobs.StorageError as error:
        raise Unavailable(f"'{name[:200]}' cannot be read from storage.") from error
