"""The run manifest: what a reader needs to know, or to do the run again."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workers.trainer import publishing, starts
from workers.trainer.checkpoints import History
from workers.trainer.spec import Spec


def describe(directory: Path, spec: Spec, history: History) -> dict[str, Any]:
    """Hashes of the data and of the exported files, what was gone on from, hyperparameters, seed, environment."""
    own = spec.own_template  # None: the model's was used
    return {
        "job_id": spec.job_id,
        "tuned_model": spec.tuned_model,
        "base_model": spec.base.name,
        "base_revision": spec.base.revision,
        "parents": starts.lineage(spec, history.environment),
        "method": spec.method,
        "chat_template_sha256": own and hashlib.sha256(own.source.encode()).hexdigest(),
        "hyperparameters": {name: value for name, value in asdict(spec.hyperparameters).items() if value is not None},
        "seed": spec.seed,
        "rows_sha256": {
            name: _hash(directory / name) for name in ("train.jsonl", "valid.jsonl") if (directory / name).exists()
        },
        "files": publishing.describe(directory / "model"),
        "environment": history.environment,
        "trained_tokens": history.tokens,
        "first_loss": history.first_loss,
        "best": history.best,
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
