"""How long the rest of a run will take: what is left is known, and how fast it goes is measured as it goes.

Nothing here decides a bit of the result, and nothing costs more than a look at the clock.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from workers.trainer import model as models
from workers.trainer.batches import Rows
from workers.trainer.schedule import looked_at
from workers.trainer.spec import Spec

_MEMORY_SECONDS = 300.0  # what was measured so long ago counts a third
_KNOWN_SECONDS = 10.0  # what an earlier attempt measured counts as much as this time in training

# What is supposed of a thing until it was timed:
_FORWARD_SHARE = 0.4  # time of a token that only passes through, of the time of one trained on
_LAYER_SECONDS = 0.002  # a layer's pass over the next token of all answers
_BYTES_PER_SECOND = 100e6  # of a checkpoint: written, hashed and on disk
_PASSES_PER_TOKEN = 2.5  # of an expected answer; the base model seldom ends where half as much again is allowed


@dataclass(frozen=True)
class Plan:
    """All that a run does from its first step to its model."""

    total_steps: int
    per_epoch: int
    eval_steps: int  # 0 = only at epoch ends
    tokens: int  # of all steps
    valid_tokens: int  # of one evaluation, 0 for none
    checkpoint_bytes: int
    answer_passes: float  # of a layer, one after the other, for the answers of base and tuned model
    answer_tokens: float  # that go through the models for them
    hardest_tokens: int  # that go through the model to find the hardest rows

    def evaluations(self, *, after: int) -> int:
        """How many come after this step."""
        if not self.valid_tokens:
            return 0
        at_epochs = _multiples(self.per_epoch, after, self.total_steps)
        if not self.eval_steps:
            return at_epochs
        both = math.lcm(self.per_epoch, self.eval_steps)
        between = _multiples(self.eval_steps, after, self.total_steps) - _multiples(both, after, self.total_steps)
        return at_epochs + between

    def publications(self, *, after: int) -> int:
        """Epoch checkpoints that come behind this step, its own included, and the model."""
        return _multiples(self.per_epoch, after - 1, self.total_steps) + 1


def _multiples(number: int, after: int, until: int) -> int:
    return until // number - after // number


def plan(spec: Spec, train: Rows, valid: Rows | None, *, per_epoch: int, model: Any) -> Plan:
    """What the spec asks of these rows and this model."""
    settings = spec.hyperparameters
    passes, tokens = _answers(valid, min(spec.answers, len(valid))) if valid is not None and spec.answers else (0.0, 0)
    return Plan(
        total_steps=per_epoch * settings.epochs,
        per_epoch=per_epoch,
        eval_steps=settings.eval_steps,
        tokens=train.tokens * settings.epochs,
        valid_tokens=valid.tokens if valid is not None else 0,
        checkpoint_bytes=sum(3 * weight.nbytes for weight in models.trainable(model).values()),  # with AdamW's moments
        answer_passes=passes * getattr(model.config.get_text_config(), "num_hidden_layers", 0),
        answer_tokens=tokens,
        hardest_tokens=train.tokens_of(looked_at(len(train))) + (valid.tokens if valid is not None else 0),
    )


def _answers(valid: Rows, count: int) -> tuple[float, float]:
    """Passes of the models that the answers to so many rows take, and tokens that go through in them."""
    documents = count * valid.per_row
    places = pairwise(valid.starts[: documents + 1].tolist())
    longest = max(int(valid.trained[start:end].sum()) for start, end in places)
    passes = longest * _PASSES_PER_TOKEN
    return passes, passes * count + 2 * int(valid.starts[documents]) / valid.per_row


class Pace:
    """Seconds per token of training, per evaluation and per checkpoint; `known` is what an earlier attempt measured."""

    def __init__(self, plan: Plan, known: Mapping[str, float]) -> None:
        self._plan = plan
        self._first = 0.0, 0
        self._seconds = self._tokens = 0.0
        if known.get("seconds_per_token"):
            self._seconds, self._tokens = _KNOWN_SECONDS, _KNOWN_SECONDS / known["seconds_per_token"]
        self._evaluation = known.get("evaluation_seconds")
        self._publication = known.get("publication_seconds")
        self.begin()

    def begin(self) -> None:
        """The steps begin now."""
        self._since = self._published = time.monotonic()

    def stepped(self, tokens: int) -> None:
        """A step on so many tokens has been taken. The first one of a process, which warms up, is a stopgap only."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        if not self._first[1]:
            self._first = seconds, tokens
            return
        kept = math.exp(-seconds / _MEMORY_SECONDS)
        self._seconds = self._seconds * kept + seconds
        self._tokens = self._tokens * kept + tokens

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Time an evaluation."""
        began = time.monotonic()
        yield
        self._evaluation = time.monotonic() - began
        self._since += self._evaluation

    @contextmanager
    def publishing(self, kind: str) -> Iterator[None]:
        """Time the publishing of a checkpoint; a resume point counts as part of the steps between which it is made."""
        began = time.monotonic()
        yield
        self._published = time.monotonic()
        self._publication = self._published - began
        if kind != "resume":
            self._since += self._publication

    def end_early(self, *, step: int, tokens: int) -> None:
        """No step comes behind this one, at which so many tokens have been trained on in all."""
        self._plan = replace(self._plan, total_steps=step, tokens=tokens)

    def since_publish(self) -> float:
        """Seconds since a checkpoint was published, or since the run began."""
        return time.monotonic() - self._published

    def seconds_left(self, *, step: int, tokens: int) -> float:
        """How long the rest will take behind a step that ended with so many tokens trained on in all."""
        plan, per_token = self._plan, self._seconds_per_token()
        passing = per_token * _FORWARD_SHARE
        evaluation = passing * plan.valid_tokens if self._evaluation is None else self._evaluation
        publication = plan.checkpoint_bytes / _BYTES_PER_SECOND if self._publication is None else self._publication
        answering = plan.answer_passes * _LAYER_SECONDS + plan.answer_tokens * passing
        return (
            per_token * max(0, plan.tokens - tokens)
            + evaluation * plan.evaluations(after=step)
            + publication * plan.publications(after=step)
            + passing * plan.hardest_tokens  # in packs of a step, which may be smaller than an evaluation's
            + answering
        )

    def known(self) -> dict[str, float]:
        """What a later attempt may begin with."""
        measured = {
            "seconds_per_token": self._seconds_per_token(),
            "evaluation_seconds": self._evaluation,
            "publication_seconds": self._publication,
        }
        return {name: value for name, value in measured.items() if value is not None}

    def _seconds_per_token(self) -> float:
        seconds, tokens = (self._seconds, self._tokens) if self._tokens else self._first
        return seconds / max(tokens, 1)
