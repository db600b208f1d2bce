"""Method supervised: a row is one document, and its loss the cross entropy of its trained tokens."""

from dataclasses import dataclass

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

    def metrics(self, sums: Sums) -> dict[str, float]:
        return {"loss": sums.mean_loss, "mean_token_accuracy": sums.accuracy}
