"""The demo's scripts are no package: their folder goes on the path for these tests alone."""

import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "deploy" / "demo"


@pytest.fixture(scope="session")
def demo() -> Path:
    return DEMO


@pytest.fixture(autouse=True, scope="session")
def _demo_scripts_importable() -> None:
    sys.path.insert(0, str(DEMO))
