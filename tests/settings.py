"""The settings of the process under test: set for a block, and forgotten by every cache afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from app import blobs, config, queue
from app.store import db, known_keys


@contextmanager
def settings(**values: str) -> Iterator[config.Settings]:
    """Run a block under these settings, given in lower case, and no others of ours."""
    kept = {
        name: value for name, value in os.environ.items() if name.lower() not in config.Settings.__dataclass_fields__
    }
    given = {name.upper(): value for name, value in values.items()}
    with mock.patch.dict(os.environ, {**kept, **given}, clear=True):
        _forget()
        try:
            yield config.settings()
        finally:
            _forget()


def _forget() -> None:
    known_keys.close()
    db.close()
    for cached in (config.settings, blobs.storage, queue._sender, queue._redis):
        cached.cache_clear()
