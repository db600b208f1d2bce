"""The demo's support tickets: customer messages and the team and urgency they belong to.

Run it to write train.jsonl and valid.jsonl; the same seed writes the same bytes. One skeleton in eight (an issue's
phrasing with its slots blank) is held out for validation: neither training nor pretraining ever makes it.
"""

import json
import random
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from grammar import Section, choose, fill, held_out, sections
from manner import typed

TEAMS = ("billing", "shipping", "account", "technical", "sales")
URGENCIES = ("low", "normal", "high")
TRAIN_ROWS = 960
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
    message = compose([fill(skeleton, rng) for skeleton in skeletons], urgency, rng)
    return Ticket(message, team, urgency, tuple(skeletons))


def issue(subject: Section, rng: random.Random, *, validation: bool) -> list[str]:
    """One or two skeletons of a subject, all held out or all open."""
    count = 2 if rng.random() < 0.25 else 1
    return [_skeleton(subject, rng, validation=validation) for _ in range(count)]


def _skeleton(subject: Section, rng: random.Random, *, validation: bool) -> str:
    while True:
        skeleton = choose(rng.choice(subject.lines["-"]), rng)
        if held_out(skeleton) == validation:
            return skeleton


def compose(sentences: list[str], urgency: str, rng: random.Random) -> str:
    """A message around the issue's sentences: a cue before, inside or after them, and a frame."""
    body = list(sentences)
    if rng.random() < 0.3:
        body.insert(rng.randint(0, len(body)), _say(CUES["normal"].lines["-"], rng))
    body = _with_cue(body, urgency, rng)
    if rng.random() < 0.4:
        body.insert(0, _say(FRAME["opener"], rng))
    if rng.random() < 0.3:
        body.append(_say(FRAME["closer"], rng))
    return typed(body, rng, pressing=urgency == "high")


def _with_cue(body: list[str], urgency: str, rng: random.Random) -> list[str]:
    """Most messages say how pressing they are once, some twice; many normal ones do not say it."""
    lines = CUES[urgency].lines
    shape = rng.random()
    if urgency == "normal" and rng.random() < 0.55:
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
