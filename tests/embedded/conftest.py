from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.services import scratch_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory, removed afterwards."""
    with scratch_directory() as path:
        yield path


def listening(pid: int) -> set[str]:
    """The addresses that the process listens on."""
    connections = psutil.Process(pid).net_connections()
    return {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
