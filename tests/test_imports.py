"""The import contracts bite: each is broken once, in a copy of the tree, and must be reported by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def contracts(folder: Path) -> str:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ended.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "templates", "migrations")
    for name in ("app", "workers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("app/store/jobs.py", "app.actions.jobs", "The web and the core they share are layered as drawn"),
        ("workers/supervision.py", "workers.training", "The workers are layered as drawn"),
        ("app/core/names.py", "flask", "The core is standard library only"),
        ("app/dialects/openai/jobs.py", "app.store.jobs", "Only actions and workers reach store and queue"),
        ("app/actions/jobs.py", "torch", "The web never imports workers, nor anything that trains"),
        ("workers/validation.py", "app.actions.jobs", "Workers never import the web"),
        ("workers/backends/local.py", "app.store.jobs", "Backends and trainer know neither store nor queue"),
        ("workers/trainer/engine.py", "app.blobs", "Backends and trainer know neither store nor queue"),
        ("workers/training.py", "torch", "The trainer is a program of its own"),
        ("app/blobs/directory.py", "psycopg", "psycopg is imported in app.store alone"),
        ("app/actions/files.py", "boto3", "boto3 is imported in app.blobs alone"),
        ("app/store/secrets.py", "cryptography", "cryptography is imported in app.seals alone"),
    ],
)
def test_a_broken_contract_is_reported(copy, module, imported, contract):
    with (copy / module).open("a") as source:
        source.write(f"\nimport {imported}\n")
    broken = [line for line in contracts(copy).splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(contract) for line in broken)


def test_the_tree_as_it_is_breaks_none(copy):
    assert "0 broken" in contracts(copy)
