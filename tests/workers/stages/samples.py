"""Jobs with real files, and what the stages left of them."""

import json
from datetime import UTC, datetime
from typing import Any

from app.blobs import storage
from app.core import names
from app.core.job import File, Job
from app.store import events, files
from app.store.db import transaction
from tests.store.conftest import PROJECT, made, now
from tests.trainer.conftest import chat
from workers import finalization, training, validation

ROWS = [chat(place) for place in range(24)]
VALID = [chat(place) for place in range(100, 104)]


def uploaded(rows: list[dict[str, Any]] | bytes) -> str:
    content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = f"files/{names.file_id()}"
    written = storage().put(path, content)
    new = File(
        names.file_id(), PROJECT, "rows.jsonl", "fine-tune", written.size, written.sha256, path, datetime.now(UTC)
    )
    with transaction() as conn:
        return files.insert(conn, new).id


def created(
    key_id: str,
    rows: list[dict[str, Any]] | bytes,
    valid: list[dict[str, Any]] | None = None,
    *,
    method: str = "supervised",
    base: str = "tiny",
    chat_template: str | None = None,
    **asked: object,
) -> Job:
    return made(
        key_id,
        base=base,
        training_file=uploaded(rows),
        validation_file=uploaded(valid) if valid is not None else None,
        method=method,
        seed=5,
        suffix=None,
        **({} if chat_template is None else {"chat_template": chat_template}),
        hyperparameters={"epochs": 2, "batch_size": 4, **asked},
    )


def whole(job: Job) -> Job:
    for stage in (validation.validate, training.train, finalization.finalize):
        stage(job.id)
    return now(job)


def told(job: Job, *, level: str | None = None) -> list[str]:
    with transaction() as conn:
        found = reversed(events.page(conn, job.id, after=None, limit=1000))
        return [event.message for event in found if level in (None, event.level)]


def content(job: Job, role: str) -> bytes:
    with transaction() as conn:
        file = files.get(conn, job.project_id, now(job).result[role])
    with storage().open(file.path) as stored:
        return stored.read()
