"""The stages with the real trainer on a tiny model; one job goes through them all, and many tests look at it."""

from collections.abc import Iterator

import pytest

from app.core import names
from app.core.job import Job
from app.store import keys
from app.store.db import transaction
from app.store.migrate import migrate
from tests.settings import settings
from tests.trainer.conftest import build_model
from tests.workers.stages.samples import ROWS, VALID, created, whole
from workers import training

WIDE = 40_000
"""Vocabulary of a model whose logits take 160 KB a token."""


@pytest.fixture(scope="package")
def database(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("stages")
    (folder / "tiny").mkdir()
    build_model(folder / "tiny")
    build_model(folder / "wide", vocab_size=WIDE)
    (folder / "models.toml").write_text(
        "".join(
            f'[[model]]\nname = "{name}"\nsource = "./{name}"\ncontext_length = {context_length}\n'
            "learning_rate = { lora = 0.01, full = 0.01 }\n"
            for name, context_length in (("tiny", 64), ("wide", 2048), ("huge", 64))
        )
    )
    with settings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1",
        storage_url=str(folder / "storage"),
        work_dir=str(folder / "work"),
        models_file=str(folder / "models.toml"),
        heartbeat_seconds="0.05",
        checkpoint_seconds="0",
        trainer_threads="1",
        answers="3",
        template_seconds="0.5",
        template_mb="200",
    ):
        migrate()
        training.backend.cache_clear()
        yield
        training.backend().close()
        training.backend.cache_clear()


@pytest.fixture(scope="package")
def key_id(database: None) -> str:
    with transaction() as conn:
        conn.execute(
            "truncate job_events, checkpoints, models, jobs, files, upload_parts, datasets, own_weights, uploads, "
            "aliases, permissions"
        )
        return keys.adopt(conn, names.api_key()).id


@pytest.fixture(scope="package")
def succeeded(key_id: str) -> Job:
    return whole(created(key_id, ROWS, VALID))
