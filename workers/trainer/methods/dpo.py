"""Method dpo: a row is two documents, the preferred answer's and the other's; the loss is the sigmoid one of the pair.

Source: Rafailov et al. 2023, "Direct Preference Optimization", equation 7.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from workers.trainer.batches import Pack
from workers.trainer.engine import Sums


@dataclass(frozen=True)
class Dpo:
    beta: float  # how dearly it costs to leave the reference
    uses_reference = True

    def count(self, pack: Pack) -> int:
        """Pairs."""
        return len(pack.documents) // 2

    def loss(self, logits: Tensor, pack: Pack) -> tuple[Tensor, Sums]:
        """Hits are pairs whose preferred answer has the higher reward, the margin is the rewards' difference, nats."""
        margins = self._margins(logits, pack)
        loss = softplus(-margins).sum()
        said = margins.detach()
        return loss, Sums(float(loss.detach()), int((said > 0).sum()), len(said), float(said.sum()))

    def losses(self, logits: Tensor, pack: Pack) -> Tensor:
        """Of the pair."""
        return softplus(-self._margins(logits, pack))

    def _margins(self, logits: Tensor, pack: Pack) -> Tensor:
        """By how much the preferred answer's reward is higher: float [pairs], nats."""
        if pack.reference is None:
            raise ValueError("a preference is measured against a reference, and these rows have none")
        rewards = self.beta * (log_probabilities(logits, pack) - pack.reference.to(logits.device))  # [documents]
        return rewards[0::2] - rewards[1::2]

    def metrics(self, sums: Sums) -> dict[str, float]:
        return {"loss": sums.mean_loss, "preference_accuracy": sums.accuracy, "reward_margin": sums.mean_margin}


def log_probabilities(logits: Tensor, pack: Pack) -> Tensor:
    """Log-probability of each document's trained tokens together, nats: float [documents].

    logits: float [targets, vocabulary].
    """
    each = -cross_entropy(logits, pack.targets.to(logits.device), reduction="none")  # [targets]
    return torch.stack([part.sum() for part in each.split(pack.counts)])
