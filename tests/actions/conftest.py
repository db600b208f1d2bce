"""A migrated database for the actions that need no request."""

from tests.store.conftest import database, key_id

__all__ = ["database", "key_id"]
