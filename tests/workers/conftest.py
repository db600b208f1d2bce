"""Jobs for the workers' tests: a migrated database, storage in a folder, and a Redis that is not there."""

from collections.abc import Iterator

import pytest

from app.store.migrate import migrate
from tests.settings import settings
from tests.store.conftest import checkpoint, key_id, new_job

__all__ = ["checkpoint", "key_id", "new_job"]


@pytest.fixture(scope="module")
def database(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("workers")
    with settings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1",
        storage_url=str(folder / "storage"),
        work_dir=str(folder / "work"),
        heartbeat_seconds="0.02",
        trainer_standby="0",
    ):
        migrate()
        yield
