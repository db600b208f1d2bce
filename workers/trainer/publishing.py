"""Directories that appear whole or not at all: written beside, synced, renamed."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """A new directory to write into; when the block ends well it takes `target`'s place, and is on disk."""
    draft = target.with_name(f"{target.name}.tmp{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_tree(draft)
    replaced = target.with_name(f"{target.name}.old{os.getpid()}")
    if target.exists():
        target.rename(replaced)
    draft.rename(target)
    _sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def sweep(directory: Path) -> None:
    """Remove what a killed process left half written."""
    for path in [*directory.glob("*.tmp*"), *directory.glob("*.old*")]:
        shutil.rmtree(path, ignore_errors=True)


def write_file(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.tmp{os.getpid()}")
    draft.write_text(text, "utf-8")
    _sync(draft)
    draft.replace(path)
    _sync(path.parent)


def describe(directory: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file below `directory`, by relative path."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): _described(path) for path in paths}


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def matches(directory: Path, files: dict[str, dict[str, Any]]) -> bool:
    """True when every listed file is there, has its size and its hash."""
    try:
        sizes_agree = all((directory / name).stat().st_size == file["bytes"] for name, file in files.items())
        return sizes_agree and all(_described(directory / name) == file for name, file in files.items())
    except (OSError, KeyError, TypeError):
        return False


def _sync_tree(directory: Path) -> None:
    for path in [*directory.rglob("*"), directory]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
