"""The rows that ask the most of memory, as the pack that they would be, and parts of such a pack."""

import math
from bisect import bisect_left

import numpy as np
import torch
from torch import Tensor

from workers.trainer.batches import Pack, Rows, bounds, packs

_ENDLESS = 1 << 62


def heaviest(rows: Rows, *, most: int, budget: int, target_weight: float) -> Pack | None:
    """The pack of at most `most` rows and `budget` tokens that holds about the most; None when no row has targets.

    A target counts as `target_weight` tokens. A row longer than the budget is a pack of its own.
    """
    usable = np.flatnonzero(rows.targets)
    if not usable.size:
        return None
    lengths, targets = rows.lengths[usable], rows.targets[usable]
    found = [_longest(lengths, most, budget), _first_fits(np.argsort(-targets, kind="stable"), lengths, most, budget)]
    chosen = max(found, key=lambda places: lengths[places].sum() + target_weight * targets[places].sum())
    return next(packs(rows, usable[chosen], budget=_ENDLESS))


def _longest(lengths: np.ndarray, most: int, budget: int) -> np.ndarray:
    """Rows next to one another in length whose sum comes nearest to the budget."""
    order = np.argsort(-lengths, kind="stable")
    ends = np.concatenate([[0], np.cumsum(lengths[order])])
    best = order[:1]
    for count in range(1, min(most, len(order)) + 1):
        starts = range(len(order) - count + 1)
        first = bisect_left(starts, -budget, key=lambda start: int(ends[start] - ends[start + count]))
        if first == len(starts):
            break
        best = max(best, order[first : first + count], key=lambda places: lengths[places].sum())
    return best


def _first_fits(order: np.ndarray, lengths: np.ndarray, most: int, budget: int) -> np.ndarray:
    """The first row, however long, and those behind it that still fit."""
    chosen, left = [order[0]], budget - lengths[order[0]]
    order = order[1:]
    while len(chosen) < most and (fitting := np.flatnonzero(lengths[order] <= left)).size:
        place = int(fitting[0])
        chosen.append(order[place])
        left -= lengths[order[place]]
        order = order[place + 1 :]
    return np.array(chosen)


def shortened(pack: Pack, share: float) -> Pack:
    """The end of every document of the pack, and about the same share of its targets, at least one each."""
    kept, sources, targets, counts = [], [], [], []
    placed = 0
    spans = zip(bounds(pack.lengths), pack.sources.split(pack.counts), pack.targets.split(pack.counts), strict=True)
    for (start, end), source, target in spans:
        first = end - math.ceil((end - start) * share)
        count = min(math.ceil(len(source) * share), int((source >= first).sum()))
        kept.append(torch.arange(first, end))
        sources.append(source[-count:] - first + placed)
        targets.append(target[-count:])
        counts.append(count)
        placed += end - first
    lengths = tuple(len(places) for places in kept)
    return Pack(
        ids=pack.ids[:, torch.cat(kept)],
        positions=_positions(lengths),
        lengths=lengths,
        sources=torch.cat(sources),
        targets=torch.cat(targets),
        counts=tuple(counts),
        documents=pack.documents,
        reference=pack.reference,
    )


def _positions(lengths: tuple[int, ...]) -> Tensor:
    return torch.cat([torch.arange(length) for length in lengths])[None]
