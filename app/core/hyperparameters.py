"""Hyperparameters in our own names: what each may be, and what `auto` becomes."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.core import carveout

AUTO = "auto"


@dataclass(frozen=True)
class Limit:
    """What a hyperparameter may be: a number within bounds, true or false, one of some words, or a list of words."""

    kind: type
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    choices: tuple[str, ...] = ()
    text: str = ""

    def accepts(self, value: object) -> bool:
        """Whether `value` is of the right type and within the bounds; `auto` is not asked here."""
        if self.kind is list:
            return isinstance(value, list) and 0 < len(value) <= 64 and all(_word(item) for item in value)
        if self.kind is str:
            return isinstance(value, str) and value in self.choices
        if self.kind is bool:
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and (not math.isfinite(value) or (self.kind is int and not value.is_integer())):
            return False
        return self.low <= value <= self.high and value > self.above


def _word(item: object) -> bool:
    return isinstance(item, str) and 0 < len(item) <= 128 and item.isprintable()


LIMITS: dict[str, Limit] = {
    "epochs": Limit(int, 1, 50, text="an integer from 1 to 50"),
    "batch_size": Limit(int, 1, 256, text="an integer from 1 to 256"),
    "learning_rate_multiplier": Limit(float, high=10_000, above=0, text="a number above 0"),
    "learning_rate": Limit(float, high=1, above=0, text="a number above 0, at most 1"),
    "training_type": Limit(str, choices=("lora", "full"), text="'lora' or 'full'"),
    "lora_rank": Limit(int, 1, 512, text="an integer from 1 to 512"),
    "lora_alpha": Limit(float, high=4096, above=0, text="a number above 0, at most 4096"),
    "lora_dropout": Limit(float, 0, 0.9, text="a number from 0 to 0.9"),
    "lora_targets": Limit(list, text="a list of 1 to 64 module names, or ['all-linear']"),
    "scheduler": Limit(str, choices=("linear", "cosine", "constant"), text="'linear', 'cosine' or 'constant'"),
    "warmup_steps": Limit(int, 0, 100_000, text="an integer from 0 to 100000"),
    "weight_decay": Limit(float, 0, 1, text="a number from 0 to 1"),
    "max_grad_norm": Limit(float, high=1000, above=0, text="a number above 0, at most 1000"),
    "max_length": Limit(int, 8, 1_048_576, text="an integer from 8 to the model's context length"),
    "eval_steps": Limit(int, 0, 1_000_000, text="an integer from 0 (only at the end of an epoch)"),
    "early_stopping_patience": Limit(int, 0, 1000, text="an integer from 0 (never end early) to 1000"),
    "early_stopping_delta": Limit(float, 0, 100, text="a number from 0 to 100"),
    "keep_best": Limit(bool, text="true or false"),
    "eval_carveout": Limit(float, 0, 0.5, text="a number from 0 to 0.5"),
    "beta": Limit(float, high=2, above=0, text="a number above 0, at most 2"),
}


SHAPE = ("training_type", "lora_rank", "lora_alpha", "lora_targets")
"""What a tuned model has by its making: whoever goes on from it has the same."""


@dataclass(frozen=True)
class BaseModel:
    """A base model of the catalogue. Learning rates are per training type; `context_length` is in tokens.

    `identity` is a hash of what the catalogue says it is: a name may come to mean another model.
    """

    name: str
    source: str
    revision: str | None
    identity: str
    aliases: tuple[str, ...]
    training_type: str
    learning_rates: Mapping[str, float]
    context_length: int
    queue: str
    memory: Mapping[str, str]
    description: str


@dataclass(frozen=True)
class Hyperparameters:
    """Resolved numbers, as the trainer takes them: learning rate absolute, warm-up in steps, lengths in tokens."""

    epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    training_type: str
    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    lora_targets: list[str]
    scheduler: str
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    max_length: int
    eval_steps: int
    early_stopping_patience: int
    early_stopping_delta: float
    keep_best: bool
    eval_carveout: float
    beta: float | None = None  # of method dpo

    def total_steps(self, rows: int) -> int:
        """Optimizer steps of the whole run over a training file of `rows` rows, some of them perhaps held out."""
        trained = rows - carveout.count(rows, self.eval_carveout)
        return self.epochs * math.ceil(trained / self.batch_size)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values, without what the method has no use for."""
        return {name: value for name, value in asdict(self).items() if value is not None}


MULTIPLIERS = {"dpo": 0.1}
"""What the learning rate's multiplier is by itself, where it is not 1: preferences move a model faster."""


def said(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked without what is left to us."""
    return {name: value for name, value in asked.items() if value != AUTO and value is not None}


def conflict(asked: Mapping[str, Any], *, validation_file: bool) -> tuple[str, str] | None:
    """The first hyperparameter that makes no sense beside the others, and why; None when all do."""
    given = said(asked)
    held_out, patience = given.get("eval_carveout"), given.get("early_stopping_patience")
    if held_out and validation_file:
        return "eval_carveout", "goes without a validation_file: give one of the two."
    if given.get("early_stopping_delta") and not patience:
        return "early_stopping_delta", "goes with an early_stopping_patience above 0: give both, or neither."
    for name in ("early_stopping_patience", "keep_best"):
        if given.get(name) and not (validation_file or held_out):
            return name, "needs rows to validate on: give a validation_file, or an eval_carveout such as 0.1."
    return None


def resolve(asked: Mapping[str, Any], base: BaseModel, *, method: str, rows: int) -> Hyperparameters:
    """Turn what was asked, `auto` and absences included, into the numbers that a run over a file of `rows` rows uses.

    Epochs: about 2,000 row visits for small files, between 1 and 6. Batch size: about 40 steps an epoch, 1 to 16.
    Rows that are held out count for neither.
    """
    given = said(asked)
    share = float(given.get("eval_carveout", 0.0))
    rows -= carveout.count(rows, share)
    patience = int(given.get("early_stopping_patience", 0))
    training_type = given.get("training_type", base.training_type)
    epochs = int(given.get("epochs", min(6, max(1, round(2000 / rows)))))
    batch_size = int(given.get("batch_size", min(16, max(1, round(rows / 40)))))
    multiplier = float(given.get("learning_rate_multiplier", MULTIPLIERS.get(method, 1.0)))
    steps = epochs * math.ceil(rows / batch_size)
    rank = int(given.get("lora_rank", 16))
    return Hyperparameters(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate_multiplier=multiplier,
        learning_rate=float(given.get("learning_rate", base.learning_rates[training_type] * multiplier)),
        training_type=training_type,
        lora_rank=rank,
        lora_alpha=float(given.get("lora_alpha", 2 * rank)),
        lora_dropout=float(given.get("lora_dropout", 0.0)),
        lora_targets=list(given.get("lora_targets", ["all-linear"])),
        scheduler=given.get("scheduler", "cosine"),
        warmup_steps=int(given.get("warmup_steps", math.ceil(0.05 * steps))),
        weight_decay=float(given.get("weight_decay", 0.0)),
        max_grad_norm=float(given.get("max_grad_norm", 1.0)),
        max_length=min(int(given.get("max_length", base.context_length)), base.context_length),
        eval_steps=int(given.get("eval_steps", 0)),
        early_stopping_patience=patience,
        early_stopping_delta=float(given.get("early_stopping_delta", 0.0)),
        keep_best=bool(given.get("keep_best", patience > 0)),
        eval_carveout=share,
        beta=float(given.get("beta", 0.1)) if method == "dpo" else None,
    )
