"""Rows in memory, and packs: documents laid end to end without padding, cut off behind their last target."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from workers.trainer.rows import Encoded


@dataclass(frozen=True)
class Rows:
    """All rows of a file, each as `per_row` documents; document i is starts[i]:starts[i + 1] of the flat arrays."""

    ids: np.ndarray  # int32
    trained: np.ndarray  # bool; a document's first token is never a target, nothing predicts it
    starts: np.ndarray  # int64, one more than there are documents
    lines: np.ndarray  # int64 [rows], line numbers from 1
    cut_lines: tuple[int, ...]
    per_row: int = 1
    reference: np.ndarray | None = None  # float32 [documents], nats; under the weights that the job began with

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def documents(self) -> int:
        return len(self.starts) - 1

    @property
    def row_starts(self) -> np.ndarray:
        """Where each row starts, and the end of the last."""
        return self.starts[:: self.per_row]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row."""
        return self.row_starts[1:] - self.row_starts[:-1]

    @property
    def targets(self) -> np.ndarray:
        """Trained tokens of each row; 0 for a row that is left out, since one of its documents has none."""
        counts = np.zeros(self.documents, dtype=np.int64)
        filled = self.starts[1:] > self.starts[:-1]
        if filled.any():
            counts[filled] = np.add.reduceat(self.trained, self.starts[:-1][filled], dtype=np.int64)
        by_row = counts.reshape(-1, self.per_row)
        return np.where(by_row.all(axis=1), by_row.sum(axis=1), 0)

    def tokens_of(self, chosen: Sequence[int] | np.ndarray) -> int:
        return int(self.lengths[chosen].sum())


@dataclass(frozen=True)
class Pack:
    """Documents that go through the model in one pass, as one row of `time` tokens."""

    ids: Tensor  # int64 [1, time]
    positions: Tensor  # int64 [1, time], from 0 in each document
    lengths: tuple[int, ...]  # tokens of each document
    sources: Tensor  # int64 [targets], the places whose next token is trained on
    targets: Tensor  # int64 [targets], those next tokens
    counts: tuple[int, ...]  # targets of each document
    documents: tuple[int, ...]  # their numbers in the file
    reference: Tensor | None  # float32 [documents]

    def to(self, device: torch.device) -> "Pack":
        if device.type == "cpu":
            return self
        named = {name: getattr(self, name).to(device) for name in ("ids", "positions", "sources", "targets")}
        return replace(self, **named)


def gather(encoded: Iterable[Encoded], *, per_row: int = 1) -> Rows:
    """Lay the documents out flat, so that a large file costs five bytes a token; each `per_row` of them are a row."""
    ids, trained, lengths, lines = [], [], [], []
    cut: list[int] = []
    for row in encoded:
        ids.append(np.array(row.ids, dtype=np.int32))
        trained.append(np.array(row.trained, dtype=bool))
        lengths.append(len(row.ids))
        lines.append(row.line)
        if trained[-1].size:
            trained[-1][0] = False
        if row.cut and cut[-1:] != [row.line]:
            cut.append(row.line)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    empty = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=bool)]
    return Rows(
        np.concatenate(ids or empty[0]),
        np.concatenate(trained or empty[1]),
        starts,
        np.array(lines[::per_row], np.int64),
        tuple(cut),
        per_row,
    )


@dataclass(frozen=True)
class _Document:
    number: int
    ids: np.ndarray  # int32 [length]
    targets: np.ndarray  # int32 [length], the next token, or -1 where it is not trained on


def packs(rows: Rows, chosen: Sequence[int] | np.ndarray, *, budget: int) -> Iterator[Pack]:
    """The chosen rows in their order, packed until `budget` tokens are full; a row's documents stay together.

    Rows with a document without a target are left out. A document ends where its last target is predicted: what
    follows cannot change the loss. A row longer than the budget is a pack of its own.
    """
    waiting: list[_Document] = []
    size = 0
    for row in chosen:
        documents = _documents(rows, int(row))
        length = sum(len(document.ids) for document in documents)
        if waiting and size + length > budget:
            yield _pack(rows, waiting)
            waiting, size = [], 0
        waiting += documents
        size += length
    if waiting:
        yield _pack(rows, waiting)


def _documents(rows: Rows, row: int) -> list[_Document]:
    """The row's documents; none when one of them has nothing to train on."""
    numbers = range(row * rows.per_row, (row + 1) * rows.per_row)
    found = [document for number in numbers if (document := _document(rows, number)) is not None]
    return found if len(found) == rows.per_row else []


def _document(rows: Rows, number: int) -> _Document | None:
    start, end = int(rows.starts[number]), int(rows.starts[number + 1])
    marked = np.flatnonzero(rows.trained[start:end])
    if not marked.size:
        return None
    last = start + int(marked[-1])
    targets = np.where(rows.trained[start + 1 : last + 1], rows.ids[start + 1 : last + 1], -1)
    return _Document(number, rows.ids[start:last], targets)


def _pack(rows: Rows, documents: list[_Document]) -> Pack:
    lengths = tuple(len(document.ids) for document in documents)
    targets = np.concatenate([document.targets for document in documents])
    sources = np.flatnonzero(targets >= 0)
    numbers = tuple(document.number for document in documents)
    return Pack(
        ids=torch.from_numpy(np.concatenate([document.ids for document in documents]).astype(np.int64))[None],
        positions=torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))[None],
        lengths=lengths,
        sources=torch.from_numpy(sources),
        targets=torch.from_numpy(targets[sources].astype(np.int64)),
        counts=tuple(int((document.targets >= 0).sum()) for document in documents),
        documents=numbers,
        reference=None if rows.reference is None else torch.from_numpy(rows.reference[list(numbers)]),
    )


def bounds(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each document of a pack."""
    yield from pairwise(np.concatenate([[0], np.cumsum(lengths)]).tolist())
