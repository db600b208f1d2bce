"""Rows in memory, and packs: documents laid end to end without padding, cut off behind their last target."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from workers.trainer.rows import Encoded


@dataclass(frozen=True)
class Rows:
    """All rows of a file; row i is the slice starts[i]:starts[i + 1] of the flat arrays."""

    ids: np.ndarray  # int32
    trained: np.ndarray  # bool; a row's first token is never a target, nothing predicts it
    starts: np.ndarray  # int64, one more than there are rows
    lines: np.ndarray  # int64, line numbers from 1
    cut_lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def tokens(self) -> int:
        return len(self.ids)

    def tokens_of(self, chosen: Sequence[int] | np.ndarray) -> int:
        return int((self.starts[1:] - self.starts[:-1])[chosen].sum())


@dataclass(frozen=True)
class Pack:
    """Documents that go through the model in one pass, as one row of `time` tokens."""

    ids: Tensor  # int64 [1, time]
    positions: Tensor  # int64 [1, time], from 0 in each document
    lengths: tuple[int, ...]  # tokens of each document
    sources: Tensor  # int64 [targets], the places whose next token is trained on
    targets: Tensor  # int64 [targets], those next tokens

    def to(self, device: torch.device) -> "Pack":
        if device.type == "cpu":
            return self
        moved = (tensor.to(device) for tensor in (self.ids, self.positions, self.sources, self.targets))
        ids, positions, sources, targets = moved
        return Pack(ids, positions, self.lengths, sources, targets)


def gather(encoded: Iterable[Encoded]) -> Rows:
    """Lay the rows out flat, so that a large file costs five bytes a token."""
    ids, trained, lengths, lines, cut = [], [], [], [], []
    for row in encoded:
        ids.append(np.array(row.ids, dtype=np.int32))
        trained.append(np.array(row.trained, dtype=bool))
        lengths.append(len(row.ids))
        lines.append(row.line)
        if trained[-1].size:
            trained[-1][0] = False
        if row.cut:
            cut.append(row.line)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    empty = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=bool)]
    return Rows(
        np.concatenate(ids or empty[0]),
        np.concatenate(trained or empty[1]),
        starts,
        np.array(lines, np.int64),
        tuple(cut),
    )


def packs(rows: Rows, chosen: Sequence[int] | np.ndarray, *, budget: int) -> Iterator[Pack]:
    """The chosen rows in their order, packed until `budget` tokens are full; rows without a target are left out.

    A document ends where its last target is predicted: what follows cannot change the loss. A row longer than the
    budget is a pack of its own.
    """
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    size = 0
    for row in chosen:
        document = _document(rows, int(row))
        if document is None:
            continue
        if waiting and size + len(document[0]) > budget:
            yield _pack(waiting)
            waiting, size = [], 0
        waiting.append(document)
        size += len(document[0])
    if waiting:
        yield _pack(waiting)


def _document(rows: Rows, row: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Input ids, and targets beside them: the next token, or -1 where it is not trained on."""
    start, end = int(rows.starts[row]), int(rows.starts[row + 1])
    marked = np.flatnonzero(rows.trained[start:end])
    if not marked.size:
        return None
    last = start + int(marked[-1])
    targets = np.where(rows.trained[start + 1 : last + 1], rows.ids[start + 1 : last + 1], -1)
    return rows.ids[start:last], targets


def _pack(documents: list[tuple[np.ndarray, np.ndarray]]) -> Pack:
    lengths = tuple(len(ids) for ids, _ in documents)
    targets = np.concatenate([wanted for _, wanted in documents])
    sources = np.flatnonzero(targets >= 0)
    return Pack(
        ids=torch.from_numpy(np.concatenate([ids for ids, _ in documents]).astype(np.int64))[None],
        positions=torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))[None],
        lengths=lengths,
        sources=torch.from_numpy(sources),
        targets=torch.from_numpy(targets[sources].astype(np.int64)),
    )


def bounds(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each document of a pack."""
    yield from pairwise(np.concatenate([[0], np.cumsum(lengths)]).tolist())
