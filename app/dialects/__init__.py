"""The dialects this server speaks. A dialect only renames: a request's path decides which one answers."""

from app.dialects.base import Dialect
from app.dialects.openai import OPENAI

DIALECTS: tuple[Dialect, ...] = (OPENAI,)


def of_path(path: str) -> Dialect:
    """The dialect that a URL belongs to; what belongs to none is answered by the first."""
    return next((dialect for dialect in DIALECTS if path.startswith(dialect.prefixes)), DIALECTS[0])
