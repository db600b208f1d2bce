"""AnyAPI's users, who send what its pages show."""

from dataclasses import replace
from pathlib import Path

from tests.wire.openai import DOOR as OPENAI

DOOR = replace(OPENAI, folder=Path(__file__).parent, like=OPENAI)
