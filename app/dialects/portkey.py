"""Portkey's manner of calling the OpenAI dialect: what its headers say of a new job, and those that it finds answered.

Tuneyard stands where Portkey's service stands, and trains itself: what names another upstream is refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from flask import Request
from marshmallow import ValidationError
from werkzeug.datastructures import Headers

from app.core.errors import Invalid
from app.core.job import NewJob
from app.dialects.base import first_error
from app.dialects.bodies import refuse_unprintable
from app.dialects.metadata import Metadata

PREFIX = "x-portkey-"
ENVIRON_PREFIX = "HTTP_X_PORTKEY_"
TRACE_ID, METADATA = f"{PREFIX}trace-id", f"{PREFIX}metadata"
PROVIDER = "tuneyard"
HERE = (PROVIDER, "openai")  # openai is the wire format: the gateway has no other word for a server like this one
UPSTREAMS = (
    "amz-",
    "amzn-",
    "aws-",
    "azure-",
    "fireworks-",
    "huggingface-",
    "oracle-",
    "snowflake-",
    "stability-",
    "vertex-",
    "workers-ai-",
)
ROUTING = ("provider", "virtual-key", "custom-host", "mode")
IDLE = (
    "api-key",
    "cache",
    "forward-headers",
    "on-status-codes",
    "openai-organization",
    "openai-project",
    "request-timeout",
    "retry",
    "strategy",
    "strict-open-ai-compliance",
    "weight",
)
SHOWN = 64


class Asked(NamedTuple):
    """One thing that a request asks of Portkey: where it stands, its name in Portkey's headers, and its value."""

    where: str
    name: str
    value: Any


def applied(new: NewJob, request: Request, body: Mapping[str, Any]) -> NewJob:
    """The job with the trace id and the metadata of the headers among its own pairs, of which the body's win.

    Raises Invalid, with the header as `param`, for metadata that cannot be kept, and for the wish of another upstream.
    """
    _refuse_elsewhere(_asked(request.headers, body), host=request.host)
    where, filed = _filed(request.headers)
    return replace(new, metadata=_checked({**filed, **(new.metadata or {})}, where)) if filed else new


def answered(environ: Mapping[str, Any], request_id: str) -> dict[str, str]:
    """The headers that Portkey's clients read in every answer; none when the request carried none of theirs."""
    if not any(name.startswith(ENVIRON_PREFIX) for name in environ):
        return {}
    return {
        TRACE_ID: environ.get(f"{ENVIRON_PREFIX}TRACE_ID") or request_id,
        f"{PREFIX}provider": PROVIDER,
        f"{PREFIX}last-used-option-index": "config",
        f"{PREFIX}retry-attempt-count": "0",
        f"{PREFIX}cache-status": "DISABLED",
    }


def _filed(headers: Headers) -> tuple[str, dict[str, str]]:
    """The pairs that the headers file with a job, and the header that brought the last of them."""
    where, filed = METADATA, {}
    if text := _text(headers, METADATA):
        try:
            filed = _checked(json.loads(text), METADATA)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"The header {METADATA} is not valid JSON.", param=METADATA) from error
    if text := _text(headers, TRACE_ID):
        where, filed = TRACE_ID, {**filed, **_checked({TRACE_ID: text}, TRACE_ID)}
    return where, filed


def _text(headers: Headers, name: str) -> str:
    """A header's text: UTF-8 where its bytes are that, else Latin-1, as HTTP says."""
    text = headers.get(name, "").strip()
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _checked(pairs: Any, where: str) -> dict[str, str]:
    try:
        checked: dict[str, str] = Metadata().deserialize(pairs)
    except ValidationError as error:
        found = first_error(error.messages)
        raise Invalid(f"The header {where} cannot be filed as metadata. {found.message}", param=where) from error
    for text in (*checked.keys(), *checked.values()):
        refuse_unprintable(text, where)
    return checked


def _asked(headers: Headers, body: Mapping[str, Any]) -> Iterator[Asked]:
    """What the headers ask for, and `portkey_options`, by which a body brings the same to Portkey's own fine-tuning."""
    for name, value in headers.items():
        if name.lower().startswith(PREFIX):
            yield Asked(name.lower(), name[len(PREFIX) :].lower(), value.strip())
    options = body.get("portkey_options")
    for name, value in options.items() if isinstance(options, Mapping) else ():
        yield Asked(f"portkey_options.{name}", name.lower().removeprefix(PREFIX), value)


def _refuse_elsewhere(asked: Iterable[Asked], *, host: str) -> None:
    waiting = [*asked]
    while waiting:
        one = waiting.pop()
        if one.name == "config":
            waiting.extend(_members(one))
        elif one.value and not _means_here(one, host):
            raise Invalid(
                f"{one.where[:SHOWN]} asks for another upstream. This server trains every job itself, and relays none "
                f"yet: leave it out. As a provider, '{PROVIDER}' and 'openai' mean this server.",
                param=one.where[:SHOWN],
                code="not_relayed",
            )


def _means_here(one: Asked, host: str) -> bool:
    if one.name == "provider":
        return str(one.value).lower() in HERE
    if one.name == "mode":
        return str(one.value).lower().removeprefix("proxy").strip() in ("", "single", *HERE)
    if one.name == "custom-host":
        return str(one.value).partition("://")[2].partition("/")[0] == host
    return one.name != "virtual-key" and not one.name.startswith(UPSTREAMS)


def _members(config: Asked) -> Iterator[Asked]:
    """What a config asks for, its targets as configs again.

    Raises Invalid for the id of a saved one, which only Portkey can look up, and for a member that nothing here does.
    """
    for name, value in _spelled_out(config).items():
        where, plain = f"{config.where}.{name}", name.lower().replace("_", "-")
        if plain == "targets" and isinstance(value, list):
            yield from (Asked(f"{where}[{number}]", "config", target) for number, target in enumerate(value))
        elif plain in ROUTING or plain.startswith(UPSTREAMS):
            yield Asked(where, plain, value)
        elif plain not in IDLE:
            raise Invalid(f"{where[:SHOWN]} is nothing that this server does: leave it out.", param=where[:SHOWN])


def _spelled_out(config: Asked) -> Mapping[str, Any]:
    found = config.value
    if isinstance(found, str) and found.startswith("{"):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{config.where} is not valid JSON.", param=config.where) from error
    if isinstance(found, Mapping):
        return found
    if not found:
        return {}
    raise Invalid(
        f"{config.where[:SHOWN]} must be a JSON object: a config that is saved at Portkey cannot be looked up here.",
        param=config.where[:SHOWN],
        code="not_relayed",
    )
