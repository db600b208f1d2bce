"""A door: a way to call the service, and how its answers are read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from app.core.states import Status
from tests.dialects.conftest import Person
from tests.wire.likeness import unlike

MODEL = "tuneyard-tiny"
OWED = ("create", "retrieve", "succeeded", "failed", "cancel", "list", "next_page", "unknown", "forbidden", "invalid")
"""`unknown` reads a job that is not there, `forbidden` creates with a key that only reads, `invalid` without data."""


@dataclass(frozen=True)
class Door:
    """A folder of examples, those of `like` where it has none of its own, and what the answers hold.

    `headers` come with every request. `states` are the words for each status; `pages` is how many jobs `list` asks for.
    `after` tells what `next_page` needs of the page before, or None when that was the last.
    """

    folder: Path
    dialect: str
    states: Mapping[Status, str]
    headers: Mapping[str, str]
    job_id: Callable[[Any], str]
    status: Callable[[Any], str]
    jobs: Callable[[Any], list[Any]]
    after: Callable[[Any], str | None]
    message: Callable[[Any], str]
    upload: Callable[[Person, bytes], str] = Person.file
    like: "Door | None" = None
    pages: int = 2
    answered: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    def has(self, example: str) -> bool:
        return (self.folder / f"{example}.json").exists() or (self.like is not None and self.like.has(example))

    def example(self, name: str) -> dict[str, Any]:
        file = self.folder / f"{name}.json"
        if self.like is not None and not file.exists():
            return self.like.example(name)
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def send(self, who: Person, example: str, **names: str) -> TestResponse:
        """Send the request of an example."""
        request = self.meant(who, example, **names)["request"]
        body = json.dumps(request["body"]).encode() if "body" in request else None
        headers = filled({**self.headers, **request.get("headers", {})}, {"key": who.secret})
        return who.http.open(request["path"], method=request["method"], headers=headers, data=body)

    def ask(self, who: Person, example: str, **names: str) -> Any:
        """Send the request of an example, and return the body of its answer, which must be as recorded."""
        answer, recorded = self.send(who, example, **names), self.meant(who, example, **names)["answer"]
        assert answer.status_code == recorded["status"], answer.text
        assert {name: answer.headers.get(name) for name in self.answered} == self.answered
        assert unlike(recorded["body"], answer.json) == []
        return answer.json

    def meant(self, who: Person, example: str, **names: str) -> dict[str, Any]:
        """An example with everything filled in."""
        given = {"key": who.secret, "account": who.project, "model": MODEL, **names}
        found: dict[str, Any] = filled(self.example(example), given)
        return found

    def sees(self, who: Person, job: str) -> str:
        """The status of a job, in this door's words."""
        return self.status(self.ask(who, "retrieve", job=job))


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """The value with each name in braces replaced, in all its texts."""
    if isinstance(value, dict):
        return {key: filled(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
    return value
