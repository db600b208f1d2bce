"""Training backends by name."""

from workers.backends.base import Backend
from workers.backends.local import Local

BACKENDS: dict[str, type[Backend]] = {"local": Local}
