"""What customers do with a job: its kind decides the weights, its script what they change their minds about."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from openai.types.fine_tuning import FineTuningJob

ROWS = 40


@dataclass(frozen=True)
class Kind:
    """Jobs that end with the same weights."""

    name: str
    seed: int
    hyperparameters: Mapping[str, object]


KINDS = (
    Kind("LoRA", 11, {"n_epochs": 30, "batch_size": 4}),
    Kind("full", 12, {"n_epochs": 30, "batch_size": 4, "training_type": "full"}),
    Kind("LoRA with dropout", 13, {"n_epochs": 20, "batch_size": 2, "lora_dropout": 0.2}),
    Kind("LoRA, short", 14, {"n_epochs": 10, "batch_size": 4, "lora_rank": 4}),
)


@dataclass(frozen=True)
class Act:
    """Something that a customer does, once this share of the steps is taken and, if asked for, the job is paused."""

    verb: str  # pause, resume or cancel
    share: float = 0.0
    paused: bool = False

    def is_due(self, job: FineTuningJob) -> bool:
        """Whether the job has come to where the customer has waited for."""
        if self.verb == "pause" and job.status not in ("queued", "running"):
            return False
        progress = getattr(job, "progress", None) or {}
        share = progress.get("step", 0) / progress.get("total_steps", 1)
        return share >= self.share and (str(job.status) == "paused" or not self.paused)


@dataclass
class Order:
    """A job that was accepted, and what became of it as its owner saw it."""

    id: str
    kind: Kind
    script: list[Act]
    key: str  # its Idempotency-Key
    done: list[str] = field(default_factory=list)  # verbs that were accepted
    ended: str = ""  # the last status

    @property
    def expected(self) -> str:
        """The status that its owner would expect in the end."""
        return "cancelled" if "cancel" in self.done else "succeeded"


def script(seed: int, number: int) -> list[Act]:
    """What the owner of the job with this number will do."""
    chance = random.Random(f"{seed}/{number}")
    early, late = sorted([chance.choice([0.0, chance.uniform(0.0, 0.8)]), chance.uniform(0.0, 1.0)])
    resume = Act("resume", paused=chance.random() < 0.5)
    plays = {
        "leave it alone": [],
        "pause it": [Act("pause", early), resume],
        "pause it twice": [Act("pause", early), resume, Act("pause", late), resume],
        "cancel it": [Act("cancel", chance.choice([early, late]))],
        "pause and then cancel it": [Act("pause", early), Act("cancel", paused=resume.paused)],
    }
    return plays[chance.choices(list(plays), weights=[55, 20, 10, 10, 5])[0]]
