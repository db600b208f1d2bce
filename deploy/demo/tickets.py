"""The demo's support tickets: customer messages and the team and urgency they belong to.

Run it to write train.jsonl and valid.jsonl; the same seed writes the same bytes. A skeleton is an issue's phrasing
with its slots blank. Those marked `+` in the phrase files were written for validation alone: neither training nor
pretraining ever makes one. dev.jsonl was typed freely and helped to tune this generator; free.jsonl was typed freely
before that, by somebody who had not seen it, and is only ever scored.
"""

import json
import random
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from grammar import Section, choose, fill, sections
from manner import typed

TEAMS = ("billing", "shipping", "account", "technical", "sales")
URGENCIES = ("low", "normal", "high")
TRAIN_ROWS = 2880
VALID_ROWS = 100
HERE = Path(__file__).parent

ISSUES = {team: sections(team) for team in TEAMS}
CUES = {section.name: section for section in sections("urgency")}
FRAME = {section.name: section.lines["-"] for section in sections("frame")}


@dataclass(frozen=True)
class Ticket:
    """A customer's message with its true labels, and the issue phrasing (slots open) that it was made from."""

    message: str
    team: str
    urgency: str
    skeletons: tuple[str, ...]

    def chat(self) -> dict[str, list[dict[str, str]]]:
        """The ticket as one training row."""
        answer = json.dumps({"team": self.team, "urgency": self.urgency})
        return {"messages": [{"role": "user", "content": self.message}, {"role": "assistant", "content": answer}]}


def ticket(rng: random.Random, *, team: str, urgency: str, validation: bool) -> Ticket:
    """One ticket, of held-out skeletons or of open ones."""
    subject = rng.choice(ISSUES[team])
    skeletons = issue(subject, rng, validation=validation)
    message = compose([fill(skeleton, rng) for skeleton in skeletons], urgency, rng, rare=False)
    return Ticket(message, team, urgency, tuple(skeletons))


def issue(subject: Section, rng: random.Random, *, validation: bool) -> list[str]:
    """One or two skeletons of a subject, all held out or all open."""
    lines = subject.lines["+" if validation else "-"]
    return [choose(line, rng) for line in rng.sample(lines, 2 if rng.random() < 0.25 else 1)]


def compose(sentences: list[str], urgency: str, rng: random.Random, *, rare: bool) -> str:
    """A message around the issue's sentences: a cue before, inside or after them, and a frame.

    `rare` lets it say the urgency in ways that tickets do not use.
    """
    body = list(sentences)
    if rng.random() < 0.2:
        body.insert(rng.randint(0, len(body)), _say(_cues("normal", rare=rare)["-"], rng))
    body = _with_cue(body, urgency, rng, rare=rare)
    if rng.random() < 0.4:
        body.insert(0, _say(FRAME["opener"], rng))
    if rng.random() < 0.3:
        body.append(_say(FRAME["closer"], rng))
    return typed(body, rng, pressing=urgency == "high")


def _cues(urgency: str, *, rare: bool) -> dict[str, list[str]]:
    cues = CUES[urgency]
    return cues.lines if rare else {mark: cues.common(mark) for mark in cues.lines}


def _with_cue(body: list[str], urgency: str, rng: random.Random, *, rare: bool) -> list[str]:
    """Most messages say how pressing they are once, some twice; most normal ones do not say it."""
    lines = _cues(urgency, rare=rare)
    shape = rng.random()
    if urgency == "normal" and rng.random() < 0.7:
        return body
    if shape < 0.2:
        mark = rng.choice([":", ",", "!", " -", "."])
        return [f"{_say(lines['^'], rng)}{mark} {body[0]}", *body[1:]]
    if shape < 0.45:
        at = rng.randrange(len(body))
        return [*body[:at], body[at] + rng.choice([" ", ", ", ", "]) + _say(lines["~"], rng), *body[at + 1 :]]
    cues = 2 if urgency != "normal" and shape > 0.75 else 1
    for _ in range(cues):
        at = rng.randint(0, len(body))
        body = [*body[:at], _say(lines["-"], rng), *body[at:]]
    return body


def _say(lines: list[str], rng: random.Random) -> str:
    return fill(choose(rng.choice(lines), rng), rng)


def tickets(count: int, *, seed: int, validation: bool) -> list[Ticket]:
    """`count` tickets with all teams and urgencies in equal shares, shuffled."""
    rng = random.Random(seed)
    labels = [(team, urgency) for team in TEAMS for urgency in URGENCIES]
    made = [
        ticket(rng, team=team, urgency=urgency, validation=validation) for team, urgency in islice(cycle(labels), count)
    ]
    rng.shuffle(made)
    return made


def training() -> list[Ticket]:
    """The tickets of train.jsonl."""
    return tickets(TRAIN_ROWS, seed=1, validation=False)


def validation() -> list[Ticket]:
    """The tickets of valid.jsonl."""
    return tickets(VALID_ROWS, seed=2, validation=True)


def write(path: Path, made: list[Ticket]) -> None:
    """One chat per line, UTF-8."""
    path.write_text("".join(json.dumps(one.chat(), ensure_ascii=False) + "\n" for one in made), "utf-8")


if __name__ == "__main__":
    write(HERE / "train.jsonl", training())
    write(HERE / "valid.jsonl", validation())
