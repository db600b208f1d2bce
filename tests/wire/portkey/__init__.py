"""Portkey's client, with this server as its base URL: OpenAI's requests under Portkey's headers."""

from dataclasses import replace
from pathlib import Path

from tests.wire.openai import DOOR as OPENAI

DOOR = replace(
    OPENAI,
    folder=Path(__file__).parent,
    like=OPENAI,
    headers={
        "x-portkey-api-key": "{key}",
        "Authorization": "Bearer OPENAI_API_KEY",
        "Content-Type": "application/json",
        "x-portkey-package-version": "portkey-2.3.4",
        "x-portkey-trace-id": "run-7",
        "x-portkey-metadata": '{"env": "test"}',
        "x-portkey-strict-open-ai-compliance": "false",
    },
    answered={"x-portkey-trace-id": "run-7", "x-portkey-provider": "tuneyard"},
)
