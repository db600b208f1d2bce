"""Our own OpenAPI document as flat lists: dotted names of what an operation takes and answers."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_LEVELS = 8


@dataclass(frozen=True)
class Operation:
    """An operation of the document; `described` is its own part of it."""

    path: str
    described: Mapping[str, Any]
    schemas: Mapping[str, Any]

    def taken(self) -> dict[str, Mapping[str, Any]]:
        """What it takes in the query or the body, by dotted name; what stands in the path is left out.

        A form's names with brackets are dotted too, and items of a list stand for the list.
        """
        found = {item["name"]: item["schema"] for item in self.described.get("parameters", ()) if item["in"] == "query"}
        for media in self.described.get("requestBody", {}).get("content", {}).values():
            found |= dict(self._members(media["schema"], ""))
        return {re.sub(r"\[(\w+)\]", r".\1", name).replace("[]", ""): schema for name, schema in found.items()}

    def answered(self) -> dict[str, Mapping[str, Any]]:
        """The members of its answer, by dotted name."""
        content = self.described["responses"]["200"].get("content", {})
        found: dict[str, Mapping[str, Any]] = {}
        for media in content.values():
            found |= dict(self._members(media["schema"], ""))
        return found

    def _members(self, schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for variant in self._variants(schema):
            for name, member in variant.get("properties", {}).items():
                yield f"{prefix}{name}", self._merged(member)
                if prefix.count(".") < MOST_LEVELS:
                    yield from self._members(member, f"{prefix}{name}.")
                    yield from self._of_items(member, f"{prefix}{name}[].")

    def _of_items(self, schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for variant in self._variants(schema):
            if "items" in variant:
                yield from self._members(variant["items"], prefix)

    def _variants(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The schema itself and all that it refers to or is put together of."""
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[-1]]
        yield schema
        for word in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(word, ()):
                yield from self._variants(part)

    def _merged(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        return {word: value for variant in self._variants(schema) for word, value in variant.items()}


def operation(document: Mapping[str, Any], verb: str, path: str) -> Operation | None:
    """The operation that answers a request, or None; of several that could, the one with the longest words."""
    found = [
        Operation(template, members[verb.lower()], document["components"]["schemas"])
        for template, members in document["paths"].items()
        if verb.lower() in members and re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(template)), path)
    ]
    return max(found, key=lambda each: len(re.sub(r"\{\w+\}", "", each.path)), default=None)
