"""Each call of the official client beside ours: same, extended, ignored or absent, field by field."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.compatibility import types
from tests.compatibility.calls import Call, Caller
from tests.compatibility.document import Operation, operation

SAME, EXTENDED, IGNORED, ABSENT = "same", "extended", "ignored", "absent"
ITEM = "data[]."


@dataclass(frozen=True)
class Line:
    """A field of a request or an answer, and what became of it."""

    field: str
    status: str
    remark: str = ""


@dataclass(frozen=True)
class Section:
    """A call of the client: its request line, whether it is served, what it takes, and what is answered."""

    call: str
    request: str
    status: str
    taken: tuple[Line, ...] = ()
    answered: tuple[Line, ...] = ()


def sections(caller: Caller, document: Mapping[str, Any]) -> list[Section]:
    """Try every call, alone and with each of its parameters."""
    return [section(caller, call, document) for call in caller.calls()]


def section(caller: Caller, call: Call, document: Mapping[str, Any]) -> Section:
    """Try one call, alone and with each of its parameters."""
    works = caller.accepts(call)
    verb, path = caller.last
    request = f"{verb} {_template(path, call.arguments)}"
    ours = operation(document, verb, path)
    if ours is None:
        return Section(call.name, request, ABSENT)
    assert works, f"{call.name} is described, and refuses {call.arguments}"
    taken, answered = tuple(_taken(caller, call, ours)), tuple(_answered(call, ours))
    extended = any(line.status == EXTENDED for line in (*taken, *answered))
    return Section(call.name, request, EXTENDED if extended else SAME, taken, answered)


def _template(path: str, arguments: Mapping[str, Any]) -> str:
    for name, value in arguments.items():
        if isinstance(value, str):
            path = re.sub(f"(?<=/){re.escape(value)}(?=/|$)", f"{{{name}}}", path)
    return path


def _taken(caller: Caller, call: Call, ours: Operation) -> Iterator[Line]:
    taken = ours.taken()
    known = [name for name in call.given if f"{{{name}}}" not in _template(caller.last[1], call.arguments)]
    for name in known:
        yield Line(name, SAME if name in taken else IGNORED)
    for parameter in call.optional():
        known.append(parameter.name)
        top = parameter.name.split(".")[0]
        refused = [words for words, value in parameter.examples.items() if not caller.accepts(call, **{top: value})]
        if len(refused) == len(parameter.examples):
            yield Line(parameter.name, ABSENT, "refused, saying so")
        elif _described(parameter.name, taken):
            remark = f"refuses {', '.join(refused)}, saying so" if refused else ""
            yield Line(parameter.name, SAME, remark)
        else:
            yield Line(parameter.name, IGNORED)
    for name in sorted(taken):
        if not any(name == each or each.startswith(f"{name}.") for each in known):
            yield Line(name, EXTENDED, "ours alone")


def _described(name: str, taken: Mapping[str, Any]) -> bool:
    """Whether the document knows the name, or an object around it of which it says no more."""
    while name not in taken:
        name = name.rpartition(".")[0]
        if not name or any(each.startswith(f"{name}.") for each in taken):
            return False
    return True


def _answered(call: Call, ours: Operation) -> Iterator[Line]:
    answered = ours.answered()
    theirs = {member.name: member for member in types.members(call.hints["return"])}
    absent: list[str] = []
    for name, member in theirs.items():
        if name in answered:
            more = set(answered[name].get("enum", ())) - member.choices if member.choices else set()
            yield Line(name, EXTENDED if more else SAME, f"also {', '.join(sorted(more))}" if more else "")
        elif not name.startswith(tuple(absent)):
            absent += [f"{name}.", f"{name}[]."]
            yield Line(name, ABSENT)
    if theirs:
        yield from (Line(name, EXTENDED, "ours alone") for name in sorted(set(answered) - set(theirs)))


def markdown(found: list[Section], client: str) -> str:
    """The matrix as a page; what several calls answer alike stands there once."""
    text = [HEAD.format(client=client), "| call | request | here |", "|---|---|---|"]
    text += [f"| `{each.call}` | `{each.request}` | {each.status} |" for each in found]
    for each in found:
        if each.taken:
            text += [f"\n## {each.call} takes\n", *_table(each.taken)]
    answers: dict[tuple[Line, ...], list[str]] = {}
    for each in found:
        for calls, lines in _objects(each):
            answers.setdefault(lines, []).append(calls)
    for lines, names in answers.items():
        text += [f"\n## {', '.join(names)}: the answer\n", *_table(lines)]
    return "\n".join(text) + "\n"


def _objects(section: Section) -> Iterator[tuple[str, tuple[Line, ...]]]:
    """What is answered: an object, or a list and its items."""
    items = tuple(
        replace(line, field=line.field[len(ITEM) :]) for line in section.answered if line.field.startswith(ITEM)
    )
    rest = tuple(line for line in section.answered if not line.field.startswith(ITEM))
    if rest:
        yield section.call, rest
    if items:
        yield f"each of {section.call}", items


def _table(lines: tuple[Line, ...]) -> list[str]:
    rows = [f"| `{line.field}` | {line.status} | {line.remark} |" for line in lines]
    return ["| field | here | |", "|---|---|---|", *rows]


HEAD = """# Compatibility with OpenAI's API

Every call of the official client (`{client}`) that belongs to fine-tuning, and every field of it. Made by trying each
call on the real application, alone and with each of its parameters, and by comparing the client's types with
`/openapi.json`. A test fails when this page and the truth differ; `make matrix` writes it anew.

- **same**: taken or answered as by OpenAI
- **extended**: more than OpenAI's; a field that is ours alone, or more values
- **ignored**: taken, and not acted upon
- **absent**: not served, not answered, or refused
"""
