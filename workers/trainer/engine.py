"""The step: packs through the model, one mean of the method's loss, one optimizer update."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from workers.trainer import model as models
from workers.trainer.batches import Pack, bounds


@dataclass(frozen=True)
class Sums:
    """Loss and hits added up over `targets`, trained tokens or pairs; a mean is a quotient taken once, at the end."""

    loss: float = 0.0  # nats
    hits: int = 0
    targets: int = 0
    margin: float = 0.0  # nats, of pairs

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.loss + other.loss, self.hits + other.hits, self.targets + other.targets, self.margin + other.margin
        )

    @property
    def mean_loss(self) -> float:
        return self.loss / self.targets if self.targets else 0.0

    @property
    def accuracy(self) -> float:
        return self.hits / self.targets if self.targets else 0.0

    @property
    def mean_margin(self) -> float:
        return self.margin / self.targets if self.targets else 0.0


class Method(Protocol):
    """What a step learns: a loss over packed documents, summed over what its mean is taken of."""

    uses_reference: bool  # whether rows carry log-probabilities under the weights the job began with

    def count(self, pack: Pack) -> int:
        """How many terms the pack's loss is the sum of."""

    def loss(self, logits: Tensor, pack: Pack) -> tuple[Tensor, Sums]:
        """The pack's summed loss, to be differentiated, and its sums. logits: float32 [targets, vocabulary]."""

    def losses(self, logits: Tensor, pack: Pack) -> Tensor:
        """Each row's own mean loss: float [rows]. logits: float32 [targets, vocabulary]."""

    def metrics(self, sums: Sums) -> dict[str, float]:
        """The means that a caller sees, by name; `loss` is one of them."""


@dataclass(frozen=True)
class Engine:
    """A model with the ways it is run in."""

    model: Any
    optimizer: torch.optim.Optimizer
    environment: dict[str, Any]
    max_grad_norm: float
    method: Method

    def forward(self, pack: Pack) -> Tensor:
        """Logits, float32 [targets, vocabulary], at the places that predict a target."""
        return forward(self.model, pack, self.environment).float()

    def update(self, packs: Sequence[Pack], *, learning_rate: float) -> tuple[Sums, float]:
        """One optimizer step on the packs; returns sums and the gradient's norm before clipping.

        A step without any target changes no weight and no optimizer state. A loss or norm that is not finite leaves
        the weights as they were: the caller looks at what is returned.
        """
        total = sum(self.method.count(pack) for pack in packs)
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
        """Add the pack's part of the gradient of the step's mean loss over `total` terms."""
        loss, sums = self.method.loss(self.forward(pack), pack)
        (loss / total).backward()
        return sums

    def _clip(self) -> float:
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        if self.max_grad_norm > 0:
            return float(torch.nn.utils.clip_grad_norm_(weights, self.max_grad_norm))
        return float(torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None]))

    @torch.no_grad()
    def measure(self, pack: Pack) -> Sums:
        """The sums of a pack, nothing learned; the caller has put the model into evaluation mode."""
        return self.method.loss(self.forward(pack), pack)[1]

    @torch.no_grad()
    def losses(self, pack: Pack) -> list[float]:
        """Each row's own mean loss, nats; the caller has put the model into evaluation mode."""
        found: list[float] = self.method.losses(self.forward(pack), pack).tolist()
        return found

    def metrics(self, prefix: str, sums: Sums) -> dict[str, float]:
        """What the method shows of the sums, named `{prefix}_…`."""
        return {f"{prefix}_{name}": value for name, value in self.method.metrics(sums).items()}


def forward(model: Any, pack: Pack, environment: dict[str, Any]) -> Tensor:
    """Logits [targets, vocabulary] at the places that predict a target, in the run's dtype."""
    pack = pack.to(torch.device(environment["device"]))
    with models.precision(environment):
        if environment["packing"]:
            return _logits(model, pack.ids, pack.positions, pack.sources, {"document_lengths": pack.lengths})
        parts = []
        for start, end in bounds(pack.lengths):
            inside = pack.sources[(pack.sources >= start) & (pack.sources < end)] - start
            parts.append(_logits(model, pack.ids[:, start:end], pack.positions[:, start:end], inside, {}))
        return torch.cat(parts)


def _logits(model: Any, ids: Tensor, positions: Tensor, sources: Tensor, named: dict[str, Any]) -> Tensor:
    keeps = models.keeps_logits(model)
    if keeps:
        named = {**named, "logits_to_keep": sources}
    logits = model(input_ids=ids, position_ids=positions, use_cache=False, **named).logits.squeeze(0)
    return logits if keeps else logits[sources]  # [targets, vocabulary]


def finite(value: float) -> bool:
    return value - value == 0.0


def optimizer(weights: dict[str, Tensor], *, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW; matrices decay, biases and norms do not."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": weight_decay},
        {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, fused=True)
