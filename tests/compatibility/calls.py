"""The official client's calls, tried one after the other on the real application."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_type_hints

import httpx2
import openai

from tests.compatibility import types
from tests.conformance import rows

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

RESOURCES = (
    "fine_tuning.jobs",
    "fine_tuning.jobs.checkpoints",
    "fine_tuning.checkpoints.permissions",
    "fine_tuning.alpha.graders",
    "files",
    "uploads",
    "uploads.parts",
    "models",
)
GIVEN = {
    "fine_tuning_job_id": rows.JOB,
    "fine_tuned_model_checkpoint": rows.CHECKPOINT,
    "permission_id": rows.PERMISSION,
    "file_id": "file_id",
    "upload_id": rows.UPLOAD,
    "part_ids": [rows.PART],
    "project_ids": [rows.PROJECT],
    "project_id": rows.PROJECT,
    "training_file": "file-abc123",
    "validation_file": "file-abc123",
    "file": ("rows.jsonl", rows.CONTENT),
    "bytes": len(rows.CONTENT),
    "data": rows.CONTENT,
    "filename": "rows.jsonl",
    "suffix": "x",
}
MODELS = {
    "fine_tuning.jobs.create": rows.ALIASES[0],
    "models.retrieve": rows.ALIASES[0],
    "models.delete": rows.TUNED_MODEL,
}
STANDARD = ("self", "timeout", "extra_headers", "extra_query", "extra_body")


@dataclass(frozen=True)
class Call:
    """A method of the client; `arguments` are those that it must be given."""

    name: str
    method: Callable[..., Any]
    hints: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def optional(self) -> Iterator[types.Parameter]:
        """All that it may be given besides, objects member by member; and each way of giving what it must."""
        for name, kind in self.hints.items():
            if name not in (*STANDARD, "return") and name not in GIVEN and name != "model":
                yield from types.parameters(name, kind)

    @property
    def given(self) -> list[str]:
        """The parameters whose value is the name of something that must be there."""
        return [name for name in self.hints if name in GIVEN or name == "model"]


@dataclass
class Caller:
    """The client, connected to the application, and the last request that went over the connection."""

    client: openai.OpenAI
    sent: list[httpx2.Request] = field(default_factory=list)

    def calls(self) -> Iterator[Call]:
        """Every call of the client that belongs to what we serve."""
        for place in RESOURCES:
            resource: Any = self.client
            for word in place.split("."):
                resource = getattr(resource, word)
            for name, function in inspect.getmembers(type(resource), inspect.isfunction):
                if not name.startswith("_") and "extra_headers" in inspect.signature(function).parameters:
                    yield _call(f"{place}.{name}", getattr(resource, name))

    def accepts(self, call: Call, **more: Any) -> bool:
        """Whether the application takes the call with these arguments."""
        try:
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                call.method(**{**call.arguments, **more})
        except openai.APIStatusError as error:
            if error.status_code >= 500:
                raise
            return False
        return True

    @property
    def last(self) -> tuple[str, str]:
        """Verb and path of the last request."""
        return self.sent[-1].method, self.sent[-1].url.path


def _call(name: str, method: Callable[..., Any]) -> Call:
    hints = get_type_hints(method)
    given = {**GIVEN, "model": MODELS.get(name)}
    arguments = {
        parameter.name: given[parameter.name] if parameter.name in given else _first(hints[parameter.name])
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is inspect.Parameter.empty
    }
    return Call(name, method, hints, arguments)


def _first(kind: Any) -> Any:
    parameter = next(types.parameters("", kind))
    return next(iter(parameter.examples.values()))


def caller(application: "WSGIApplication") -> Caller:
    """A client that never tries twice."""
    sent: list[httpx2.Request] = []
    connection = httpx2.Client(transport=httpx2.WSGITransport(app=application), event_hooks={"request": [sent.append]})
    client = openai.OpenAI(
        api_key=rows.KEY,
        base_url="http://tuneyard/v1",
        max_retries=0,
        http_client=connection,
    )
    return Caller(client, sent)
