"""The methods: each is a loss over packed documents, which the same engine turns into steps."""

from workers.trainer.engine import Method
from workers.trainer.methods.dpo import Dpo
from workers.trainer.methods.supervised import Supervised
from workers.trainer.spec import Spec

__all__ = ["Dpo", "Supervised", "of"]


def of(spec: Spec) -> Method:
    """The method that the job asks for."""
    if spec.method == "supervised":
        return Supervised()
    assert spec.hyperparameters.beta is not None  # the spec was read so
    return Dpo(spec.hyperparameters.beta)
