"""The step: packs through the model, one mean loss over all trained tokens, one optimizer update."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from workers.trainer import model as models
from workers.trainer.batches import Pack, bounds


@dataclass(frozen=True)
class Sums:
    """Loss and hits added up over `targets` trained tokens; a mean is a quotient taken once, at the end."""

    loss: float = 0.0  # nats
    hits: int = 0
    targets: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.loss + other.loss, self.hits + other.hits, self.targets + other.targets)

    @property
    def mean_loss(self) -> float:
        return self.loss / self.targets if self.targets else 0.0

    @property
    def accuracy(self) -> float:
        return self.hits / self.targets if self.targets else 0.0


@dataclass(frozen=True)
class Engine:
    """A model with the ways it is run in."""

    model: Any
    optimizer: torch.optim.Optimizer
    environment: dict[str, Any]
    max_grad_norm: float

    def forward(self, pack: Pack) -> Tensor:
        """Logits [targets, vocabulary] at the places that predict a target."""
        pack = pack.to(torch.device(self.environment["device"]))
        with models.precision(self.environment):
            if self.environment["packing"]:
                return self._logits(pack.ids, pack.positions, pack.sources, pack.lengths)
            parts = []
            for start, end in bounds(pack.lengths):
                inside = pack.sources[(pack.sources >= start) & (pack.sources < end)] - start
                parts.append(self._logits(pack.ids[:, start:end], pack.positions[:, start:end], inside, (end - start,)))
            return torch.cat(parts)

    def _logits(self, ids: Tensor, positions: Tensor, sources: Tensor, lengths: tuple[int, ...]) -> Tensor:
        named: dict[str, Any] = {"document_lengths": lengths} if self.environment["packing"] else {}
        if keeps := models.keeps_logits(self.model):
            named["logits_to_keep"] = sources
        logits = self.model(input_ids=ids, position_ids=positions, use_cache=False, **named).logits.squeeze(0)
        return logits if keeps else logits[sources]  # [targets, vocabulary]

    def update(self, packs: Sequence[Pack], *, learning_rate: float) -> tuple[Sums, float]:
        """One optimizer step on the packs; returns sums and the gradient's norm before clipping.

        A step without any target changes no weight and no optimizer state. A loss or norm that is not finite leaves
        the weights as they were: the caller looks at what is returned.
        """
        total = sum(len(pack.targets) for pack in packs)
        sums = Sums()
        if not total:
            return sums, 0.0
        for pack in packs:
            sums += self._accumulate(pack, total)
        norm = self._clip()
        if finite(sums.loss) and finite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return sums, norm

    def _accumulate(self, pack: Pack, total: int) -> Sums:
        """Add the pack's part of the gradient of the step's mean loss over `total` targets."""
        logits = self.forward(pack).float()
        targets = pack.targets.to(logits.device)
        loss = cross_entropy(logits, targets, reduction="sum")
        (loss / total).backward()
        return Sums(float(loss.detach()), _hits(logits.detach(), targets), len(targets))

    def _clip(self) -> float:
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        if self.max_grad_norm > 0:
            return float(torch.nn.utils.clip_grad_norm_(weights, self.max_grad_norm))
        return float(torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None]))

    @torch.no_grad()
    def measure(self, pack: Pack) -> Sums:
        """Loss and hits of a pack, nothing learned; the caller has put the model into evaluation mode."""
        logits = self.forward(pack).float()
        targets = pack.targets.to(logits.device)
        loss = cross_entropy(logits, targets, reduction="sum")
        return Sums(float(loss), _hits(logits, targets), len(targets))


def _hits(logits: Tensor, targets: Tensor) -> int:
    return int((logits.argmax(-1) == targets).sum())


def finite(value: float) -> bool:
    return value - value == 0.0


def optimizer(weights: dict[str, Tensor], *, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW; matrices decay, biases and norms do not."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": weight_decay},
        {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, fused=True)
