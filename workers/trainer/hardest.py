"""The rows with the highest loss under the tuned model: often the wrong ones, else those that it did not learn."""

import json
from typing import Any

import numpy as np

from workers.trainer import publishing
from workers.trainer.batches import Rows, packs
from workers.trainer.engine import finite
from workers.trainer.lifeline import Lifeline
from workers.trainer.preparation import Run, Stopped
from workers.trainer.report import Emit
from workers.trainer.schedule import looked_at

_KEPT = 10  # rows of each kind
_SHOWN = 200  # characters of what is trained on in a row


def write(run: Run, lifeline: Lifeline, emit: Emit) -> None:
    """Write hardest.jsonl, training rows before validation rows, the highest loss first, and emit lines and losses.

    Rows held out of training are a kind of their own: their lines are those of the training file.

    Raises Stopped.
    """
    kinds = {"training": (run.train, looked_at(len(run.train)))}
    if run.valid is not None:
        kinds["held_out" if run.spec.hyperparameters.eval_carveout else "validation"] = (
            run.valid,
            np.arange(len(run.valid)),
        )
    told: dict[str, dict[str, Any]] = {}
    written: list[dict[str, Any]] = []
    for kind, (rows, chosen) in kinds.items():
        losses = _losses(run, rows, chosen, lifeline)
        highest = sorted(losses, key=lambda row: (-_rank(losses[row]), row))[:_KEPT]
        found = [_described(run, rows, row, losses[row]) for row in highest]
        written += [{"rows": kind, **each} for each in found]
        told[kind] = {
            "rows": len(rows), "looked_at": len(losses),
            "lines": [each["line"] for each in found], "losses": [each["loss"] for each in found],
        }  # fmt: skip
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in written)
    publishing.write_file(run.directory / "hardest.jsonl", text)
    emit({"type": "hardest", "path": "hardest.jsonl", "found": told})


def _losses(run: Run, rows: Rows, chosen: np.ndarray, lifeline: Lifeline) -> dict[int, float]:
    """Each chosen row's own loss; no pass is larger than a step's. Rows without a target are left out."""
    batch, budget = run.spec.hyperparameters.batch_size, run.engine.environment["pack_tokens"]
    losses: dict[int, float] = {}
    run.engine.model.eval()
    for place in range(0, len(chosen), batch):
        for pack in packs(rows, chosen[place : place + batch], budget=budget):
            if lifeline.stop_asked:
                raise Stopped(run.step)
            lifeline.check()
            numbers = (document // rows.per_row for document in pack.documents[:: rows.per_row])
            losses.update(zip(numbers, run.engine.losses(pack), strict=True))
    return losses


def _rank(loss: float) -> float:
    """What is no number is worse than any."""
    return loss if finite(loss) else float("inf")


def _described(run: Run, rows: Rows, row: int, loss: float) -> dict[str, Any]:
    start, end = rows.starts[row * rows.per_row : row * rows.per_row + 2]  # of a pair, the preferred answer
    trained = rows.ids[start:end][rows.trained[start:end]].tolist()
    text = run.template.tokenizer.decode(trained, skip_special_tokens=True)
    return {"line": int(rows.lines[row]), "loss": loss if finite(loss) else None, "trained_text": text[:_SHOWN]}
