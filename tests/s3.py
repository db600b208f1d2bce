"""A real HTTP server that speaks S3, in a process of its own: moto's.

It stores, lists and joins parts as S3 does, but checks neither signatures nor who may do what.
"""

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from app.embedded.logs import Log
from app.embedded.processes import Keeper, Program, await_ready, free_port, stop_all
from tests.services import scratch_directory


@dataclass
class Server:
    """A running server; `client` looks at it past our own code."""

    port: int
    client: Any

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return environment(self.port)

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"test-{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """The first 1,000 objects of a bucket."""
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=bucket).get("Contents", ())]

    def uploads(self, bucket: str) -> list[str]:
        """The keys of uploads in parts that were not ended."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


def environment(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "for-tests",
        "AWS_SECRET_ACCESS_KEY": "for-tests-too",
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    """A server of this session's own, with no buckets yet; this process is one of its clients."""
    port = free_port()
    command = (sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port))
    with scratch_directory() as directory, pytest.MonkeyPatch.context() as patch:
        program = Program("s3", command, {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "1000"}, directory)
        keeper = Keeper(program, Log(directory / "s3.log", watched=False))
        keeper.start()
        try:
            await_ready(keeper, lambda: _listens(port), seconds=60)
            for name, value in environment(port).items():
                patch.setenv(name, value)
            yield Server(port, boto3.session.Session(region_name="us-east-1").client("s3"))
        finally:
            stop_all([keeper], grace_seconds=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
