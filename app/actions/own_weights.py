"""Weights of a project's own: trained elsewhere, announced, sent to signed URLs, and looked at before jobs go on."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app import blobs
from app.actions import arrivals, inspection
from app.actions.arrivals import Announcement, Bounds
from app.actions.datasets import usable_id
from app.actions.inspection import Seen
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import Invalid, OverLimit, Unavailable, WrongState
from app.core.job import Part
from app.core.resources import NamedModel, OwnWeights, Shard
from app.store import aliases, named_models, own_weights, uploads
from app.store.db import Connection, Row, autocommit, transaction

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
CODE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py")
"""Endings of files that are code, or become code when they are loaded."""
WAITING_AT_MOST = 100
"""Models of a project whose files have not come, or were not validated."""


def create(
    caller: Caller,
    name: str,
    *,
    display_name: str,
    description: str,
    base: str,
    hyperparameters: Mapping[str, Any],
    ignored: Sequence[str],
) -> NamedModel:
    """Begin a model under an id that the caller chooses, whose files are to come.

    `base` names a base model of the catalogue, or is ""; `hyperparameters` are what is known of the shape, `ignored`
    what was said and is not used. Raises Invalid for an id that cannot be one, Taken, and OverLimit.
    """
    caller.must("write")
    usable_id(name, param="modelId")
    own_id = names.own_weights_id()
    with transaction() as conn:
        if own_weights.waiting(conn, caller.project_id) >= WAITING_AT_MOST:
            raise OverLimit(f"{WAITING_AT_MOST} models wait for their files already: validate or delete some first.")
        aliases.reserve(conn, caller.project_id, "model", name, target=own_id)
        own_weights.insert(
            conn,
            own_id,
            project_id=caller.project_id,
            display_name=display_name,
            description=description,
            base=base,
            hyperparameters=hyperparameters,
            ignored=ignored,
            created_by=caller.key_id,
        )
        return named_models.get(conn, caller.project_id, name)


def announce(caller: Caller, name: str, sizes: Mapping[str, int | None]) -> Announcement:
    """Say which files will come, and their sizes in bytes; those that were announced before are still awaited.

    What has come stays, unless it is announced with another size. Raises Unknown, WrongState for a model that is READY,
    Invalid for a file that cannot be one of weights, and TooLarge.
    """
    caller.must("write")
    _refuse_unusable(sizes)
    with transaction() as conn:
        own = _held(conn, caller, name)
        before = {shard.name: shard for shard in own.announced()}
        new = {shard.name: _same(before.get(shard.name), shard) for shard in arrivals.announced(sizes)}
        wanted = sorted({**before, **new}.values(), key=lambda shard: shard.name)
        room = arrivals.room(wanted, _bounds())
        upload_id = arrivals.open_upload(
            conn, caller.project_id, filename=name, purpose=uploads.OF_WEIGHTS, wanted=wanted, room=room
        )
        if own.upload_id is not None and uploads.hold(conn, own.upload_id):
            uploads.hand_over(conn, own.upload_id, to=upload_id, part_ids=[shard.part_id for shard in wanted])
            uploads.cancel(conn, caller.project_id, own.upload_id)
        own_weights.announce(conn, own.id, upload_id=upload_id, shards=wanted)
    return Announcement(upload_id, [new[file] for file in sorted(sizes)], room)


def _same(before: Shard | None, now: Shard) -> Shard:
    return before if before is not None and before.bytes == now.bytes else now


def _refuse_unusable(files: Iterable[str]) -> None:
    if code := sorted(file for file in files if file.lower().endswith(CODE)):
        raise Invalid(
            f"Leave out {arrivals.listed(code)}: files of Python and its pickles ({', '.join(CODE)}) can run code when "
            "they are loaded, and are not taken. Weights come as safetensors.",
            param=arrivals.PARAM,
        )
    for file in files:
        if not FILE_NAME.fullmatch(file):
            raise Invalid(
                f"'{file[:64]}' cannot be a file of weights: its name has 1 to 128 letters, digits, dots, hyphens, "
                "underscores and plus signs, begins with none of the signs but an underscore, and has no folder.",
                param=arrivals.PARAM,
            )


def _held(conn: Connection[Row], caller: Caller, name: str) -> OwnWeights:
    own = own_weights.hold(conn, caller.project_id, name)
    if own is None:
        model = named_models.get(conn, caller.project_id, name)
        raise WrongState(f"The model '{model.name}' is READY, and its files do not change: create another one.")
    return own


def check(caller: Caller, name: str) -> list[str]:
    """Look at the files that have come, and make the model READY; one that is so stays as it is. Returns warnings.

    Raises Unknown, WrongState when a file is missing, Invalid when they cannot be gone on from, and TooLarge; then the
    model waits on, and what has come stays.
    """
    caller.must("read")
    with autocommit() as conn:
        model = named_models.get(conn, caller.project_id, name)
    if model.is_ready:
        return model.warnings
    caller.must("write")
    try:
        return _made(caller, model.name)
    except (WrongState, Unavailable):
        with autocommit() as conn:
            model = named_models.get(conn, caller.project_id, name)
        if model.is_ready:  # another request has made it so meanwhile
            return model.warnings
        raise


def _made(caller: Caller, name: str) -> list[str]:
    with transaction() as conn:
        own = _held(conn, caller, name)
        files = _arrived(name, own, uploads.parts(conn, own.upload_id or ""))
    try:
        seen = inspection.look(own, files)
        _publish(caller, name, own, files, seen)
    except Unavailable:
        with transaction() as conn:
            _refuse_changed(conn, _held(conn, caller, name), own, files)
        raise
    return seen.warnings


def _arrived(name: str, own: OwnWeights, received: Sequence[Part]) -> dict[str, Part]:
    shards = own.announced()
    if not shards:
        raise WrongState(f"No files have come for the model '{name}': use :getUploadEndpoint.")
    remedy = "delete the model and make it anew without them"
    return arrivals.arrived(name, shards, received, _bounds(), remedy=remedy)


def _bounds() -> Bounds:
    return Bounds("A model", settings().max_weights_files, settings().max_weights_mb)


def _publish(caller: Caller, name: str, own: OwnWeights, files: Mapping[str, Part], seen: Seen) -> None:
    path = f"weights/{own.id}/{names.part_id()}"
    storage = blobs.storage()
    try:
        storage.gather(path, {file: part.path for file, part in files.items()})
        with transaction() as conn:
            _become_model(conn, caller, name, own, files, seen, path)
    except blobs.StorageError as error:
        raise Unavailable("Storage cannot be written; please try again.") from error
    except Unavailable:
        raise  # the row may have been committed all the same: then it must find its bytes
    except BaseException:
        storage.delete_tree(path)
        raise


def _become_model(
    conn: Connection[Row],
    caller: Caller,
    name: str,
    own: OwnWeights,
    files: Mapping[str, Part],
    seen: Seen,
    path: str,
) -> None:
    held = _held(conn, caller, name)
    if not uploads.end(conn, held.upload_id or ""):
        raise WrongState("The time for these files is over: announce and send them again.")
    _refuse_changed(conn, held, own, files)
    own_weights.become_model(
        conn,
        own.id,
        name=names.model_name(seen.base.name, caller.org_id, name, own.id),
        org_id=caller.org_id,
        base=seen.base.name,
        path=path,
        manifest={
            "base_identity": seen.base.identity,
            "hyperparameters": seen.shape,
            "not_used": own.ignored,
            "warnings": seen.warnings,
            "files": {file: part.bytes for file, part in sorted(files.items())},
        },
    )


def _refuse_changed(conn: Connection[Row], held: OwnWeights, own: OwnWeights, files: Mapping[str, Part]) -> None:
    """Raise WrongState unless the files are still those that were looked at."""
    now = {part.path for part in uploads.parts(conn, held.upload_id or "")}
    if held != own or now != {part.path for part in files.values()}:
        raise WrongState("The files were sent or announced anew meanwhile: try again when all have come.")


def delete(caller: Caller, name: str) -> None:
    """Forget weights that are on their way, with what has come of them. Raises Unknown, WrongState for a READY one."""
    caller.must("write")
    with transaction() as conn:
        own = _held(conn, caller, name)
        own_weights.delete(conn, own.id)
        if own.upload_id is not None:
            uploads.cancel(conn, caller.project_id, own.upload_id)
