"""Portkey's open gateway in front of this server, as an upstream of the OpenAI type: it keeps its own headers."""

from dataclasses import replace
from pathlib import Path

from tests.wire.openai import DOOR as OPENAI

DOOR = replace(
    OPENAI,
    folder=Path(__file__).parent,
    like=OPENAI,
    headers={"content-type": "application/json", "authorization": "Bearer {key}"},
)
