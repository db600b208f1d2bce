"""The methods: each is a loss over packed documents, which the same engine turns into steps."""

from workers.trainer.engine import Method
from workers.trainer.methods.dpo import Dpo
from workers.trainer.methods.supervised import Supervised
from workers.trainer.spec import Spec

__all__ = ["Dpo", "Supervised", "of"]


def of(spec: Spec) -> Method:
    """The method that the job asks for."""
    beta = spec.hyperparameters.beta
    return Dpo(beta) if spec.method == "dpo" and beta is not None else Supervised()
