"""The dialects this server speaks. A dialect only renames: a request's path decides which one answers."""

from app.dialects.base import Dialect
from app.dialects.fireworks import FIREWORKS
from app.dialects.openai import OPENAI

DIALECTS: tuple[Dialect, ...] = (FIREWORKS, OPENAI)
"""The longer prefix comes first; the last one answers for what belongs to none."""


def of_path(path: str) -> Dialect:
    """The dialect that a URL belongs to."""
    return next((dialect for dialect in DIALECTS if path.startswith(dialect.prefixes)), DIALECTS[-1])
