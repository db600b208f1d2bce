"""Whether an answer is as its example says: the members of the example are there, others may be too.

`"<string>"`, `"<integer or null>"` and the like stand for any value of these kinds, every other value for itself. A
list of one item describes each item of the answer's.
"""

from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "list": (list,),
    "null": (type(None),),
}


def unlike(example: Any, found: Any, where: str = "answer") -> list[str]:
    """What differs, a line each."""
    if isinstance(example, str) and example.startswith("<") and example.endswith(">"):
        kinds = example[1:-1].split(" or ")
        return [] if any(_is(found, kind) for kind in kinds) else [f"{where} is {found!r}, not {example}"]
    if isinstance(example, dict) and isinstance(found, dict):
        return [line for name, value in example.items() for line in _member(name, value, found, where)]
    if isinstance(example, list) and isinstance(found, list) and len(example) == 1:
        return [line for number, item in enumerate(found) for line in unlike(example[0], item, f"{where}[{number}]")]
    return [] if found == example and type(found) is type(example) else [f"{where} is {found!r}, not {example!r}"]


def _member(name: str, example: Any, found: dict[str, Any], where: str) -> list[str]:
    return unlike(example, found[name], f"{where}.{name}") if name in found else [f"{where}.{name} is missing"]


def _is(found: Any, kind: str) -> bool:
    if kind not in KINDS:
        return bool(found == kind)
    return isinstance(found, KINDS[kind]) and (kind == "boolean" or not isinstance(found, bool))
