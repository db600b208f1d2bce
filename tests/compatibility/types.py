"""The official client's types as flat lists: dotted names of members, and examples of what a parameter may be."""

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Required, Union, get_args, get_origin, get_type_hints

from openai import BaseModel, Omit
from openai._types import NotGiven
from typing_extensions import is_typeddict

LISTS = (list, Iterable, Sequence)
SUITABLE = {"seconds": 3600}
"""Values of members that not every number of their type is one of."""
PLAIN: dict[Any, Any] = {str: "string", int: 1, float: 0.5, bool: True, bytes: b"Example"}


@dataclass(frozen=True)
class Parameter:
    """One thing that a call may be given: its dotted name, and calls' values that hold it, by their wording."""

    name: str
    examples: Mapping[str, Any]


def alternatives(kind: Any) -> list[Any]:
    """What a union may be, nothing and absence left out."""
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [each for option in get_args(kind) for each in alternatives(option)]
    return [] if kind in (type(None), Omit, NotGiven) else [kind]


def parameters(name: str, kind: Any) -> Iterator[Parameter]:
    """The parameter itself, or the members of the object that it is."""
    members = _object(kind)
    if members is None:
        yield Parameter(name, dict(_examples(kind, name)))
        return
    for member, of_kind in get_type_hints(members).items():
        for inner in parameters(f"{name}.{member}", of_kind):
            yield Parameter(
                inner.name, {words: _within(kind, member, value) for words, value in inner.examples.items()}
            )


def _object(kind: Any) -> Any:
    """The one object type that a parameter is, or holds a list of; None where it is anything else."""
    found = [_item(option) for option in alternatives(kind)]
    return found[0] if len(found) == 1 and is_typeddict(found[0]) else None


def _item(kind: Any) -> Any:
    items = get_args(kind)
    return items[0] if get_origin(kind) in LISTS and items else kind


def _within(kind: Any, member: str, value: Any) -> Any:
    """An object that has this member and otherwise what it must have; of its variants, the one of the member."""
    members = _object(kind)
    made = {**_least(members), member: value}
    if member in get_args(get_type_hints(members).get("type")):
        made["type"] = member
    return [made] if any(_item(option) is not option for option in alternatives(kind)) else made


def _least(members: Any) -> dict[str, Any]:
    """What an object must have; its own list of that is empty, as its annotations are kept as text."""
    hints = get_type_hints(members, include_extras=True)
    required = {name: get_args(hint)[0] for name, hint in hints.items() if get_origin(hint) is Required}
    return {name: next(value for _, value in _examples(kind, name)) for name, kind in sorted(required.items())}


def _examples(kind: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Values of a type, one of each kind, with the words for them."""
    last = name.rsplit(".", 1)[-1]
    for option in alternatives(kind):
        origin, inner = get_origin(option), get_args(option)
        if origin is Literal:
            yield from ((repr(choice), choice) for choice in inner)
        elif is_typeddict(option):
            yield option.__name__, _least(option)
        elif origin is dict:
            yield "a map", dict(_examples(inner[1]))
        elif origin in LISTS:
            yield "a list", [next(value for _, value in _examples(inner[0]))]
        elif option in PLAIN:
            yield option.__name__, SUITABLE.get(last, PLAIN[option])


@dataclass(frozen=True)
class Member:
    """A member of an answer, and the words that it may be when the client knows no others."""

    name: str
    choices: frozenset[Any] = frozenset()


def members(kind: Any, prefix: str = "") -> Iterator[Member]:
    """The members of an answer of this type, those of objects and lists inside them included."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    model = generic.get("origin") or get_origin(kind) or kind
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return
    of_item = generic.get("args") or get_args(kind)
    for name, field in model.model_fields.items():
        options = [_substituted(option, of_item) for option in alternatives(field.annotation)]
        choices = frozenset(word for option in options if get_origin(option) is Literal for word in get_args(option))
        yield Member(f"{prefix}{name}", choices)
        for option in options:
            item = _substituted(_item(option), of_item)
            yield from members(item, f"{prefix}{name}[]." if item is not option else f"{prefix}{name}.")


def _substituted(kind: Any, of_item: tuple[Any, ...]) -> Any:
    """A page's type with the type of its items in place of the variable."""
    if type(kind).__name__ == "TypeVar" and of_item:
        return of_item[0]
    return kind
