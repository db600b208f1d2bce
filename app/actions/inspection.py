"""What files that came from elsewhere are: an adapter or whole weights, of which base, and whether jobs can go on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app import blobs
from app.actions import base_files, models
from app.core import adapters, whole_weights
from app.core.errors import Invalid, Unavailable
from app.core.hyperparameters import BaseModel
from app.core.job import Part
from app.core.resources import OwnWeights
from app.core.safetensors import Malformed, Tensor, tensors

MOST_CONFIG_BYTES = 1 << 20
MOST_INDEX_BYTES = 4 << 20
MOST_TENSORS = 100_000
NAMED = 20


@dataclass(frozen=True)
class Seen:
    """What weights have turned out to be; `shape` are the hyperparameters that they have by their making."""

    base: BaseModel
    shape: dict[str, Any]
    warnings: list[str]


def look(own: OwnWeights, files: Mapping[str, Part]) -> Seen:
    """Look at files by their names. Raises Invalid, saying what is wrong, and Unavailable when storage is away."""
    if own.base and models.catalogue().find(own.base) is None:
        raise Invalid(f"{own.base} is not in this server's catalogue any more: make the model anew with another base.")
    try:
        kind = own.hyperparameters.get("training_type", "lora" if adapters.CONFIG in files else "full")
        return _adapter(own, files) if kind == "lora" else _whole(own, files)
    except blobs.StorageError as error:
        raise Unavailable("The files cannot be read from storage; please try again.") from error


def _adapter(own: OwnWeights, files: Mapping[str, Part]) -> Seen:
    config = _config(files, adapters.CONFIG)
    shape = adapters.shape(config)
    for name, value in own.hyperparameters.items():
        if shape[name] != value:
            raise Invalid(f"{adapters.CONFIG} says {shape[name]} of {name}; the model was announced with {value}.")
    base = _named(own.base, config.get("base_model_name_or_path"))
    if base is None:
        raise Invalid(
            f"{adapters.CONFIG} names {str(config.get('base_model_name_or_path'))[:200]!r} as its base, which is none "
            f"of this server: make the model anew with peftDetails.baseModel, one of {_available()}."
        )
    of_base = base_files.headers(base)
    adapters.check(shape, _tensors(files, adapters.WEIGHTS), of_base)
    return Seen(base, shape, _warnings(files, {adapters.CONFIG, adapters.WEIGHTS}, base, of_base is not None))


def _whole(own: OwnWeights, files: Mapping[str, Part]) -> Seen:
    if adapters.CONFIG in files:  # loaded from here it would bring in whatever base it names
        raise Invalid(f"There is an {adapters.CONFIG} beside whole weights: make the model anew without it.")
    config = _config(files, whole_weights.CONFIG)
    whole_weights.refuse_unknown_kind(config)
    if own.hyperparameters.keys() - {"training_type"}:
        raise Invalid(f"The model was announced as an adapter, and there is no {adapters.CONFIG} among its files.")
    base = _of_architecture(config, _named(own.base, config.get("_name_or_path")))
    used, found = _all_tensors(files)
    of_base = base_files.headers(base)
    whole_weights.check(found, of_base)
    is_compared = of_base is not None
    return Seen(base, {"training_type": "full"}, _warnings(files, used | {whole_weights.CONFIG}, base, is_compared))


def _of_architecture(config: Mapping[str, Any], named: BaseModel | None) -> BaseModel:
    """The base that is named, unless its configuration is another; else the only one of the catalogue that fits."""
    known = {model.name: base_files.config(model) for model in models.catalogue().models.values()}
    if named is not None:
        found = known[named.name]
        if found is not None and (other := whole_weights.differences(config, found)):
            raise Invalid(f"{whole_weights.CONFIG} is not that of {named.name}: {'; '.join(other)}.")
        return named
    fitting = [
        name for name, found in known.items() if found is not None and not whole_weights.differences(config, found)
    ]
    if len(fitting) == 1:
        return models.catalogue().models[fitting[0]]
    of = f"{len(fitting)} base models ({', '.join(fitting)})" if fitting else "no base model that lies on this machine"
    raise Invalid(
        f"{whole_weights.CONFIG} is like that of {of}: make the model anew with peftDetails.baseModel, one of "
        f"{_available()}."
    )


def _named(*names: object) -> BaseModel | None:
    """The base model that the first of these names that says anything means: all of it, or its last part."""
    catalogue = models.catalogue()
    for name in names:
        if not isinstance(name, str) or not name:
            continue
        if (exact := catalogue.find(name)) is not None:
            return exact
        last = name.rstrip("/").rsplit("/", 1)[-1]
        same = [known for known in catalogue.names() if known.rsplit("/", 1)[-1] == last]
        if len(same) == 1:
            return catalogue.find(same[0])
    return None


def _available() -> str:
    return ", ".join(models.catalogue().names())


def _config(files: Mapping[str, Part], name: str) -> dict[str, Any]:
    return _object(files, name, most=MOST_CONFIG_BYTES)


def _object(files: Mapping[str, Part], name: str, *, most: int) -> dict[str, Any]:
    part = _needed(files, name)
    if part.bytes > most:
        raise Invalid(f"{name} has {part.bytes} bytes, and may have {most}.")
    with blobs.storage().open(part.path) as opened:
        text = opened.read(most)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} is no JSON.") from error
    if not isinstance(found, dict):
        raise Invalid(f"{name} is no JSON object.")
    return found


def _needed(files: Mapping[str, Part], name: str) -> Part:
    if name not in files:
        raise Invalid(f"There is no {name} among the files: announce and send it.")
    return files[name]


def _tensors(files: Mapping[str, Part], name: str) -> dict[str, Tensor]:
    part = _needed(files, name)
    try:
        with blobs.storage().open(part.path) as opened:
            found = tensors(opened, part.bytes)
    except Malformed as error:
        raise Invalid(f"{name} {error}.") from error
    if not found:
        raise Invalid(f"{name} has no tensors.")
    return found


def _all_tensors(files: Mapping[str, Part]) -> tuple[set[str], dict[str, Tensor]]:
    """The files of whole weights, in one or in shards, and all their tensors."""
    if whole_weights.WEIGHTS in files or whole_weights.INDEX not in files:
        return {whole_weights.WEIGHTS}, _tensors(files, whole_weights.WEIGHTS)
    listed = whole_weights.listed_files(_object(files, whole_weights.INDEX, most=MOST_INDEX_BYTES))
    found: dict[str, dict[str, Tensor]] = {}
    for name in sorted(set(listed.values())):
        found[name] = _tensors(files, name)
        if sum(map(len, found.values())) > MOST_TENSORS:
            raise Invalid(f"There are more than {MOST_TENSORS} tensors.")
    for tensor, name in listed.items():
        if tensor not in found[name]:
            raise Invalid(f"{whole_weights.INDEX} looks for '{tensor[:200]}' in {name}, where it is not.")
    for name, tensors_there in found.items():  # all of them would be loaded
        if stray := next((tensor for tensor in tensors_there if listed.get(tensor) != name), None):
            raise Invalid(f"{name} has '{stray[:200]}', which {whole_weights.INDEX} does not look for there.")
    return {whole_weights.INDEX, *found}, {tensor: found[name][tensor] for tensor, name in listed.items()}


def _warnings(files: Mapping[str, Part], used: set[str], base: BaseModel, is_compared: bool) -> list[str]:
    told = []
    if others := sorted(files.keys() - used):
        named = ", ".join(others[:NAMED]) + (", …" if len(others) > NAMED else "")
        told.append(
            f"Kept and not used in training, which has the tokenizer and the chat template of {base.name}: {named}."
        )
    if not is_compared:
        told.append(
            f"The tensors were not compared with those of {base.name}, which does not lie on this machine: a job that "
            "goes on from them does so when it starts."
        )
    return told
