"""What is told of a job that does not fit: what it needs, what there is, and which knobs help by how much.

What would fit if others held no memory is `memory_taken`: that is not the job's fault, and another try may fit.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.hyperparameters import LIMITS
from workers.trainer.batches import Pack, Rows
from workers.trainer.failures import Failure
from workers.trainer.memory import Room
from workers.trainer.spec import Base, Hyperparameters

_PARAM = "hyperparameters"
_SPARE = 0.95  # of what would fit; an advice that narrowly fails again is none


@dataclass(frozen=True)
class Taken:
    """What a pass held at its peak beyond what is held all the time, gradients of a pass before it left out."""

    tokens: int
    targets: int
    bytes: int

    def at_most(self, pack: Pack) -> float:
        """Bytes that this pack takes in the same kind of pass, or a lighter one."""
        return self.bytes * max(1.0, pack.ids.shape[1] / self.tokens, len(pack.targets) / self.targets)


@dataclass(frozen=True)
class Trial:
    """A kind of pass with its largest pack, and what makes it so large."""

    what: str
    rows: Rows
    most: int  # rows of a pack
    budget: int  # tokens of a pack of more than one row
    batched: bool  # whether `most` is the batch size
    pack: Pack
    gradients: int  # bytes, of a pass before it
    go: Callable[[Pack], object]

    @property
    def tokens(self) -> int:
        return int(self.pack.ids.shape[1])

    def expected(self, pack: Pack, known: Taken) -> float:
        """Bytes that the pass takes with this pack, by what another one took."""
        return self.gradients + known.at_most(pack)

    def size(self, *, rows: int, max_length: int) -> int:
        """About how many tokens the largest pack would have with these knobs."""
        documents = np.minimum(self.rows.starts[1:] - self.rows.starts[:-1], max_length)
        lengths = np.sort(documents.reshape(-1, self.rows.per_row).sum(axis=1))
        together = int(lengths[-rows:].sum())
        return together if together <= self.budget else max(self.budget, int(lengths[-1]))


def of_weights(base: Base, parameters: int, *, needed: int, room: Room, full: bool) -> Failure:
    """The failure of a model that is too large before any row is looked at."""
    what = "its weights, their gradients and AdamW's state" if full else "its weights"
    helps = ['training_type "lora", which holds no gradients and state of the base'] if full else []
    return _failure(f"{base.name} has {parameters:,} parameters: {what} need", needed, 0, room, "", helps)


def of_state(*, state: int, held: int, room: Room, settings: Hyperparameters) -> Failure:
    """The failure of a model that is there, and leaves too little for gradients and AdamW's state."""
    what = "the weights, gradients and AdamW's state need"
    helps = list(_smaller_state(settings, state, state - room.ever))
    return _failure(what, held + state, held, room, "", helps)


def of_pass(trial: Trial, known: Taken, *, held: int, room: Room, settings: Hyperparameters, state: int) -> Failure:
    """The failure of a pass that will not fit, by what a part of it took."""
    needed = trial.expected(trial.pack, known)
    measured = (
        f" {_gb(held)} are held before it, and {known.tokens:,} of its {trial.tokens:,} tokens were measured to take "
        f"{_gb(known.bytes)} more."
    )
    fitting = int(_SPARE * known.tokens * (room.ever - trial.gradients) / max(1, known.bytes))
    helps = [*_smaller_pack(trial, fitting, settings), *_smaller_state(settings, state, int(needed - room.ever))]
    return _failure(f"{trial.what} needs about", held + needed, held, room, measured, helps)


def of_surprise(trial: Trial, *, held: int, room: Room | None) -> Failure:
    """The failure of a pass that did not fit, whatever was expected; `held` and `room` are those behind it."""
    there = "there is" if room is None else f"the {_gb(held + room.now)} that there are"
    what = f"{trial.what} needs more memory than {there}"
    if room is not None and held + room.now < _SPARE * (held + room.ever):
        return _too_little_left(f"{what}; others leave no more of the {_gb(held + room.ever)} that it may have")
    return Failure("out_of_memory", f"The job does not fit: {what}. {_advice([])}", param=_PARAM)


def _smaller_pack(trial: Trial, fitting: int, settings: Hyperparameters) -> Iterator[str]:
    """Knobs that make the largest pack one of at most `fitting` tokens."""
    if trial.batched:
        rows = bisect_right(
            range(1, settings.batch_size), fitting, key=lambda rows: trial.size(rows=rows, max_length=1 << 31)
        )
        if rows:
            yield f"batch_size {rows} instead of {settings.batch_size}"
    longest = int((trial.rows.starts[1:] - trial.rows.starts[:-1]).max())
    shortest = int(LIMITS["max_length"].low or 1)
    cut = range(shortest, longest)
    found = bisect_right(cut, fitting, key=lambda length: trial.size(rows=trial.most, max_length=length))
    if found:
        yield f"max_length {cut[found - 1]:,}, where the longest row has {longest:,} tokens"


def _smaller_state(settings: Hyperparameters, state: int, missing: int) -> Iterator[str]:
    """Fewer trainable weights; `state` are the bytes of their gradients and AdamW's moments."""
    if settings.training_type == "full":
        yield f'training_type "lora", which saves most of the {_gb(state)} of gradients and AdamW\'s state'
    elif (rank := int(_SPARE * settings.lora_rank * (1 - missing / state))) >= 1:
        yield f"lora_rank {rank} instead of {settings.lora_rank}"


def _failure(what: str, needed: float, held: int, room: Room, measured: str, helps: Sequence[str]) -> Failure:
    available = held + room.ever
    if needed <= available:
        left = f"others leave {_gb(held + room.now)} of the {_gb(available)} that it may have"
        return _too_little_left(f"{what} {_gb(needed)}, and {left}")
    message = (
        f"The job does not fit into this trainer's memory: {what} {_gb(needed)}, and there are {_gb(available)}, "
        f"{_gb(needed - available)} too little.{measured} {_advice(helps)}"
    )
    return Failure("out_of_memory", message, param=_PARAM)


def _too_little_left(what: str) -> Failure:
    return Failure("memory_taken", f"Too little memory is left to this trainer for now: {what}. Another try may fit.")


def _advice(helps: Sequence[str]) -> str:
    return "What helps: " + "; ".join([*helps, "a smaller base model", "a trainer with more memory"]) + "."


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e10 else f"{size / 1e9:.2f} GB"
