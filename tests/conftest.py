"""Fixtures that every folder of tests may use."""

from tests.s3 import s3
from tests.services import database_url, postgres_url, redis_url

__all__ = ["database_url", "postgres_url", "redis_url", "s3"]
