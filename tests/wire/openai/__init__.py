"""OpenAI's clients."""

from pathlib import Path
from typing import Any

from app.dialects.openai.job_object import STATUSES
from tests.wire.door import Door


def after(page: Any) -> str | None:
    return page["data"][-1]["id"] if page["has_more"] else None


DOOR = Door(
    folder=Path(__file__).parent,
    dialect="openai",
    states=STATUSES,
    headers={"Authorization": "Bearer {key}", "Content-Type": "application/json"},
    job_id=lambda job: job["id"],
    status=lambda job: job["status"],
    jobs=lambda page: page["data"],
    after=after,
    message=lambda answer: answer["error"]["message"],
)
