"""The reference of a preference job: each document's log-probability under the weights that the job began with.

Measured once, before the first step, and kept in every checkpoint, since those weights are gone after it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from workers.trainer import checkpoints
from workers.trainer.batches import Rows, packs
from workers.trainer.checkpoints import Checkpoint
from workers.trainer.engine import Engine
from workers.trainer.failures import Failure
from workers.trainer.methods.dpo import log_probabilities


def measured(engine: Engine, rows: Rows, check: Callable[[], None]) -> Rows:
    """The rows with the reference that the engine's weights are now; `check` is called between passes."""
    found = np.zeros(rows.documents, dtype=np.float32)
    engine.model.eval()
    with torch.no_grad():
        for pack in packs(rows, range(len(rows)), budget=engine.environment["pack_tokens"]):
            check()
            found[list(pack.documents)] = log_probabilities(engine.forward(pack), pack).cpu().numpy()
    engine.model.train()
    return replace(rows, reference=found)


def kept(checkpoint: Checkpoint, rows: Rows, name: str) -> Rows:
    """The rows with the reference in the checkpoint. Raises Failure `checkpoint_unusable` when it is not theirs."""
    tensor = checkpoints.reference(checkpoint).get(name)
    if tensor is None or len(tensor) != rows.documents:
        message = (
            f"The checkpoint {checkpoint.path.name} has no reference for the rows of {name}. Remove it to start over."
        )
        raise Failure("checkpoint_unusable", message)
    return replace(rows, reference=tensor.numpy())
