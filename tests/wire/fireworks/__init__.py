"""Fireworks' clients, whose datasets have ids of their own."""

import uuid
from pathlib import Path
from typing import Any

from app.dialects.fireworks.job_states import STATES
from tests.dialects.conftest import Person
from tests.dialects.fireworks import SFT, Account
from tests.wire.door import Door


def upload(who: Person, rows: bytes) -> str:
    return Account(who).ready(f"rows-{uuid.uuid4().hex}", rows)


def last_part(job: Any) -> str:
    return str(job["name"]).rsplit("/", 1)[-1]


DOOR = Door(
    folder=Path(__file__).parent,
    dialect="fireworks",
    states=STATES,
    headers={"Authorization": "Bearer {key}", "Content-Type": "application/json"},
    job_id=last_part,
    status=lambda job: job["state"],
    jobs=lambda page: page[SFT],
    after=lambda page: page["nextPageToken"] or None,
    message=lambda answer: answer["message"],
    upload=upload,
)
