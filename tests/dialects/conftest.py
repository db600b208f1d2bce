"""The application on a migrated database and a folder as storage, with keys of two projects."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.actions import keys, models
from app.api import create_app
from app.core.job import Job
from app.store import jobs
from app.store.db import transaction
from app.store.migrate import migrate
from tests.settings import settings

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 10
JOBS = "/v1/fine_tuning/jobs"
CATALOGUE = """
[[model]]
name = "tiny/base"
aliases = ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"]
source = "./model"
learning_rate = { lora = 1e-3, full = 1e-4 }
context_length = 512
description = "A base."

[[model]]
name = "big/base"
source = "./model"
learning_rate = { lora = 1e-3, full = 1e-4 }
context_length = 512
queue = "gpu-80gb"
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def app(database_url: str, redis_url: str, storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    catalogue = tmp_path_factory.mktemp("catalogue") / "models.toml"
    catalogue.write_text(CATALOGUE)
    with settings(
        database_url=database_url,
        redis_url=redis_url,
        redis_prefix=f"test-{uuid.uuid4().hex}:",
        storage_url=str(storage),
        models_file=str(catalogue),
        max_file_mb="2",
        max_body_kb="64",
        max_streams="2",
        stream_seconds="0.3",
        secret_key="a secret of the tests",
    ):
        models.catalogue.cache_clear()
        migrate()
        yield create_app()
    models.catalogue.cache_clear()


BOUNDARY = b"--b0undary\r\n"
HEAD = b'Content-Disposition: form-data; name="'
KIND = "multipart/form-data; boundary=b0undary"


def form(content: bytes, name: str, *, part: str = "file", **fields: str) -> bytes:
    """A multipart form, whole in memory, with a file and other fields."""
    others = [BOUNDARY + HEAD + f'{key}"\r\n\r\n{text}\r\n'.encode() for key, text in fields.items()]
    file = BOUNDARY + HEAD + f'{part}"; filename="{name}"\r\n\r\n'.encode() + content
    return b"".join(others) + file + b"\r\n--b0undary--\r\n"


@dataclass
class Person:
    """Somebody with a key, who sends requests and reads what comes back."""

    http: FlaskClient
    secret: str
    project: str
    key_id: str

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.http.get(path, headers=self.headers, query_string=query)

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.http.post(path, json=body, headers={**self.headers, **headers})

    def patch(self, path: str, body: Any = None) -> TestResponse:
        return self.http.patch(path, json=body, headers=self.headers)

    def delete(self, path: str) -> TestResponse:
        return self.http.delete(path, headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def upload(
        self, content: bytes = ROWS, *, name: str = "train.jsonl", purpose: str = "fine-tune", **fields: str
    ) -> TestResponse:
        return self.send_form("/v1/files", form(content, name, purpose=purpose, **fields))

    def send_form(self, path: str, body: bytes) -> TestResponse:
        return self.http.post(path, data=body, content_type=KIND, headers=self.headers)

    def file(self, content: bytes = ROWS, **options: str) -> str:
        answer = self.upload(content, **options)
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["id"])

    def create(self, body: dict[str, Any] | None = None, **members: Any) -> TestResponse:
        wanted = {"model": "tiny/base", **(body or {}), **members}
        return self.post(JOBS, {"training_file": self.file(), **wanted})

    def job(self, **members: Any) -> dict[str, Any]:
        answer = self.create(**members)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.get_json()
        return made

    def row(self, job_id: str) -> Job:
        with transaction() as conn:
            return jobs.get(conn, self.project, job_id)


def person(
    app: Flask,
    project: str,
    *,
    scopes: tuple[str, ...] = ("read", "write", "owner"),
    strict: bool = False,
    org: str | None = None,
) -> Person:
    """Somebody with a new key of a project; of an organization of its own, unless one is given."""
    key, secret = keys.create(
        project_id=project, org_id=org or f"{project}-org", name="test", scopes=scopes, strict=strict
    )
    return Person(app.test_client(), secret, project, key.id)


@pytest.fixture
def clean(app: Flask) -> None:
    with transaction() as conn:
        conn.execute(
            "truncate job_events, checkpoints, models, jobs, files, upload_parts, datasets, own_weights, uploads, "
            "aliases, permissions"
        )


@pytest.fixture
def ann(app: Flask, clean: None) -> Person:
    return person(app, "ann")


@pytest.fixture
def bob(app: Flask, clean: None) -> Person:
    return person(app, "bob")


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The error of an answer, after checking that its envelope is whole."""
    assert answer.status_code == status, answer.text
    body = answer.get_json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert answer.headers["x-request-id"]
    return error


def stored(storage: Path) -> list[Path]:
    return [path for path in (storage / "files").rglob("*") if path.is_file()] if (storage / "files").exists() else []


@pytest.fixture
def tuned_model(ann: Person) -> str:
    """The id that ann's tuned model has in dialects of resources: its job's."""
    from tests.dialects.test_models import tuned

    return str(tuned(ann).job_id)
