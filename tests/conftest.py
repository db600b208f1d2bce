"""Fixtures that every folder of tests may use."""

from tests.services import database_url, postgres_url, redis_url

__all__ = ["database_url", "postgres_url", "redis_url"]
