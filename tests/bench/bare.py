"""The workers' Celery app with stages that do nothing; `celery -A tests.bench.bare worker`.

What is left is what any job costs: three messages, sent and taken, three claims, three ends, and the order of them all.
"""

from app.core.states import Status
from tests.bench.stub import app
from workers import finalization, training, validation
from workers.supervision import Ending, Lease, serve

__all__ = ["app"]


def nothing(lease: Lease, *_: object) -> Ending:
    """A stage that is over as soon as it is begun."""
    return Ending()


def finalize(job_id: str, *, task_id: str | None = None) -> None:
    """The last stage, without a model."""
    serve(job_id, Status.FINALIZING, nothing, task_id=task_id)


setattr(validation, "_validate", nothing)  # noqa: B010 - types will not have them replaced
setattr(training, "_train", nothing)  # noqa: B010
setattr(finalization, "finalize", finalize)  # noqa: B010
