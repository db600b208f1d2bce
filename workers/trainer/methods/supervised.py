"""Method supervised: a row is one document, and its loss the cross entropy of its trained tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from workers.trainer.batches import Pack
from workers.trainer.engine import Sums


@dataclass(frozen=True)
class Supervised:
    uses_reference = False

    def count(self, pack: Pack) -> int:
        """Trained tokens."""
        return len(pack.targets)

    def loss(self, logits: Tensor, pack: Pack) -> tuple[Tensor, Sums]:
        targets = pack.targets.to(logits.device)
        loss = cross_entropy(logits, targets, reduction="sum")
        hits = (logits.detach().argmax(-1) == targets).sum()
        return loss, Sums(float(loss.detach()), int(hits), len(targets))

    def losses(self, logits: Tensor, pack: Pack) -> Tensor:
        """Per trained token."""
        each = cross_entropy(logits, pack.targets.to(logits.device), reduction="none")  # [targets]
        return torch.stack([part.mean() for part in each.split(pack.counts)])

    def metrics(self, sums: Sums) -> dict[str, float]:
        return {"loss": sums.mean_loss, "mean_token_accuracy": sums.accuracy}
