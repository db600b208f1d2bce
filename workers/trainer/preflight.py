"""Preflight: a step and an evaluation on the longest rows before the first step, and every bit put back behind them.

So a job that does not fit says so in its first minute, and one that does not fit for now makes room and is tried again.
Where it is not certain that a pass fits, parts of it are tried first, each twice as long as the one before: the kernel
kills without a word.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from workers.trainer import memory, shortage
from workers.trainer import model as models
from workers.trainer.batches import Pack, Rows
from workers.trainer.engine import Engine
from workers.trainer.failures import is_out_of_memory
from workers.trainer.longest import heaviest, shortened
from workers.trainer.metrics import Meter
from workers.trainer.report import Emit
from workers.trainer.shortage import Taken, Trial
from workers.trainer.spec import Base, Hyperparameters

_FIRST_SHARE = 1 / 32  # of a pass, tried first
_GRADIENT_AND_MOMENTS = 3  # of AdamW, each as large as the weight


@dataclass(frozen=True)
class Flight:
    """What a preflight needs of a run. `check` is called before each pass, and may raise."""

    engine: Engine
    settings: Hyperparameters
    meter: Meter
    check: Callable[[], None]

    @property
    def device(self) -> str:
        return str(self.engine.environment["device"])

    @property
    def state(self) -> int:
        """Bytes of gradients and AdamW's moments."""
        return _GRADIENT_AND_MOMENTS * sum(weight.nbytes for weight in models.trainable(self.engine.model).values())


def require_weights(base: Base, settings: Hyperparameters, parameters: int, environment: dict[str, Any]) -> None:
    """Raises Failure when what the model holds all through a run does not fit; nothing is loaded yet.

    `out_of_memory` when it never will on this trainer, `memory_taken` when others hold what it needs.

    A frozen base is held in the run's dtype; trained weights, their gradients and AdamW's moments in float32.
    """
    full = settings.training_type == "full"
    each = 4 * (1 + _GRADIENT_AND_MOMENTS) if full else getattr(torch, environment["dtype"]).itemsize
    room = memory.room(environment["device"])
    if room is not None and parameters * each > room.now:
        raise shortage.of_weights(base, parameters, needed=parameters * each, room=room, full=full)


def prove(flight: Flight, train: Rows, valid: Rows | None, emit: Emit) -> None:
    """Take a step and make an evaluation on the rows that ask the most of memory. Emits `preflight`.

    Nothing of the run is changed. Raises Failure `out_of_memory` or `memory_taken`, and what `check` raises.
    """
    step = _step(flight, train)
    if step is None:
        return
    memory.give_back()
    with _undone(flight.engine):
        room = memory.room(flight.device)
        if room is not None and flight.state > room.now:
            held = memory.held(flight.device)
            raise shortage.of_state(state=flight.state, held=held, room=room, settings=flight.settings)
        part = shortened(step.pack, _FIRST_SHARE)
        _tried(flight, step, part, None)  # from here on AdamW's state is there
        known = _tried(flight, step, part, None)
        held, room = memory.held(flight.device), memory.room(flight.device)
        known = _climb(flight, step, known)
        needed = memory.peak(flight.device)
        for rows in (valid, train if flight.engine.method.uses_reference else None):
            evaluation = _evaluation(flight, rows)
            if evaluation is not None:
                _climb(flight, evaluation, known)
                needed = max(needed, memory.peak(flight.device))
    emit({
        "type": "preflight", "tokens": step.tokens, "needed_bytes": needed,
        "available_bytes": None if room is None else held + room.now,
    })  # fmt: skip


def _step(flight: Flight, rows: Rows) -> Trial | None:
    """The heaviest step; gradients are there already when its pack comes, as behind the first of several."""
    engine, batch, budget = flight.engine, flight.settings.batch_size, flight.engine.environment["pack_tokens"]
    pack = _heaviest(flight, rows, batch)
    if pack is None:
        return None
    before = shortened(pack, _FIRST_SHARE)
    return Trial(
        "a step on its longest rows", rows, batch, budget, True, pack, flight.state // _GRADIENT_AND_MOMENTS,
        lambda part: engine.update([before, part], learning_rate=0.0),
    )  # fmt: skip


def _evaluation(flight: Flight, rows: Rows | None) -> Trial | None:
    """The heaviest pass that only measures; those fill their packs with as many rows as there are."""
    pack = None if rows is None else _heaviest(flight, rows, len(rows))
    if rows is None or pack is None:
        return None

    def measure(part: Pack) -> None:
        flight.engine.model.eval()
        flight.engine.measure(part)
        flight.engine.model.train()

    budget = flight.engine.environment["pack_tokens"]
    return Trial("an evaluation of its longest rows", rows, len(rows), budget, False, pack, 0, measure)


def _heaviest(flight: Flight, rows: Rows, most: int) -> Pack | None:
    """The heaviest pack, with a reference where the method wants one, which is not measured yet."""
    if flight.engine.method.uses_reference:
        rows = replace(rows, reference=np.zeros(rows.documents, dtype=np.float32))
    text = flight.engine.model.config.get_text_config()
    passed = 4 * getattr(text, "num_hidden_layers", 1) * getattr(text, "hidden_size", 1)
    budget = flight.engine.environment["pack_tokens"]
    return heaviest(rows, most=most, budget=budget, target_weight=getattr(text, "vocab_size", 1) / passed)


def _climb(flight: Flight, trial: Trial, known: Taken) -> Taken:
    """Make the whole pass; parts of it first, each twice the one before, until the whole is sure to fit."""
    share = _FIRST_SHARE
    while share < 1 and not _fits(flight, trial, trial.pack, known):
        known = _tried(flight, trial, shortened(trial.pack, share), known)
        share *= 2
    return _tried(flight, trial, trial.pack, known)


def _tried(flight: Flight, trial: Trial, pack: Pack, known: Taken | None) -> Taken:
    """Make the trial's pass with this pack. Raises Failure when it will not fit by what is known, or did not fit."""
    memory.give_back()
    held, room = memory.held(flight.device), memory.room(flight.device)
    if known is not None and room is not None and trial.expected(pack, known) > room.now:
        raise shortage.of_pass(trial, known, held=held, room=room, settings=flight.settings, state=flight.state)
    try:
        return _taken(flight, trial, pack)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        held, room = memory.held(flight.device), memory.room(flight.device)
        raise shortage.of_surprise(trial, held=held, room=room) from error


def _fits(flight: Flight, trial: Trial, pack: Pack, known: Taken) -> bool:
    room = memory.room(flight.device)
    return room is None or trial.expected(pack, known) <= room.now


def _taken(flight: Flight, trial: Trial, pack: Pack) -> Taken:
    flight.check()
    flight.meter.peak(flight.device)  # before it is forgotten
    memory.forget_peak(flight.device)
    before = memory.held(flight.device) + trial.gradients
    trial.go(pack)
    return Taken(pack.ids.shape[1], len(pack.targets), max(0, memory.peak(flight.device) - before))


@contextmanager
def _undone(engine: Engine) -> Iterator[None]:
    """Put back what a pass changes: generators, AdamW's state and buffers; weights are not touched at all.

    AdamW is told of an infinite gradient, as in mixed precision: it sets its state up and leaves the weights alone. A
    rate of 0 would turn -0.0 into 0.0, and a copy of the weights would be part of the peak.
    """
    kept = [
        (module, dict(vars(module)), {name: None if each is None else each.clone() for name, each in buffers.items()})
        for module in engine.model.modules()
        if (buffers := module._buffers)
    ]  # a rotary embedding may remember the longest row that it has seen
    devices = [torch.cuda.current_device()] if engine.environment["device"] == "cuda" else []
    optimizer: Any = engine.optimizer
    optimizer.found_inf = torch.tensor(1.0)
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            del optimizer.found_inf
            optimizer.state.clear()
            engine.model.train()
            for module, attributes, buffers in kept:
                vars(module).update(attributes)
                module._buffers.update(buffers)
