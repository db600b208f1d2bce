"""Reading JSON bodies: bounded, strict, and refusing early what Postgres could not store."""

import json
import math
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from app.config import settings
from app.core.errors import Invalid, TooLarge

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1


def read_json(request: Request, *, of_any_type: bool) -> dict[str, Any]:
    """The body, a JSON object; its content type has to say so, or may be any.

    Raises TooLarge, and Invalid for another content type, for what is no JSON, and for values that cannot be kept.
    """
    if not (of_any_type or request.is_json):
        raise Invalid("The body must be JSON, sent with the header 'Content-Type: application/json'.")
    try:
        body = json.loads(_read(request))
    except RecursionError as error:
        raise Invalid("The body is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"The body is not UTF-8: byte {error.start} cannot be read.") from error
    except ValueError as error:
        raise Invalid(f"The body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    _refuse_unkeepable(body)
    return body


def _read(request: Request) -> str:
    request.max_content_length = settings().max_body_kb * 1024
    try:
        return request.get_data(cache=False).decode("utf-8")
    except RequestEntityTooLarge as error:
        raise TooLarge(f"The body is larger than {settings().max_body_kb} KB, the most this server takes.") from error


def _refuse_unkeepable(body: dict[str, Any]) -> None:
    """Raise Invalid at the first value that is too deep, too large, or no text."""
    waiting: list[tuple[str, Any, int]] = [("", body, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Invalid("The body is nested too deeply.", param=path[:200])
        if isinstance(value, dict):
            for key, member in value.items():
                refuse_unprintable(key, path or "the body's keys")
                waiting.append((f"{path}.{key}" if path else key, member, depth + 1))
        elif isinstance(value, list):
            waiting.extend((f"{path}[{number}]", member, depth + 1) for number, member in enumerate(value))
        elif isinstance(value, str):
            refuse_unprintable(value, path)
        elif _out_of_range(value):
            raise Invalid(f"The number in '{path[:200]}' is too large, or none.", param=path[:200])


def _out_of_range(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) > MAX_INTEGER


def refuse_unprintable(text: str, where: str) -> None:
    """Raise Invalid when a text holds a NUL or half a surrogate pair: neither can be stored."""
    try:
        clean = "\0" not in text and text.encode()
    except UnicodeEncodeError:
        clean = False
    if clean is False:
        where = where[:200].encode("utf-8", "replace").decode()
        raise Invalid(f"The text in '{where}' holds a NUL or an unpaired surrogate.", param=where)
