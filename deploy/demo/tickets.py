"""The demo's support tickets: customer messages and the team and urgency they belong to.

Run it to write train.jsonl and valid.jsonl; the same seed writes the same bytes. An issue phrasing marked `+` in the
phrase files is for validation alone: neither training nor pretraining ever sees it.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from grammar import Section, choose, fill, sections
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


def ticket(rng: random.Random, *, team: str, urgency: str, mark: str) -> Ticket:
    """One ticket; `mark` is `-` for the open phrasings and `+` for those held out for validation."""
    subject = rng.choice(ISSUES[team])
    skeletons = issue(subject, rng, mark=mark)
    message = compose([fill(skeleton, rng) for skeleton in skeletons], urgency, rng)
    return Ticket(message, team, urgency, tuple(skeletons))


def issue(subject: Section, rng: random.Random, *, mark: str) -> list[str]:
    """One or two phrasings of a subject, slots open."""
    lines = subject.lines[mark]
    count = 2 if rng.random() < 0.25 and len(lines) > 1 else 1
    return [choose(line, rng) for line in rng.sample(lines, count)]


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
    cues = 2 if urgency != "normal" and shape > 0.7 else 1
    for _ in range(cues):
        at = rng.randint(0, len(body))
        body = [*body[:at], _say(lines["-"], rng), *body[at:]]
    return body


def _say(lines: list[str], rng: random.Random) -> str:
    return fill(choose(rng.choice(lines), rng), rng)


def tickets(count: int, *, seed: int, mark: str) -> list[Ticket]:
    """`count` tickets with all teams and urgencies in equal shares, shuffled."""
    rng = random.Random(seed)
    labels = [(team, urgency) for team in TEAMS for urgency in URGENCIES]
    made = [
        ticket(rng, team=labels[index % len(labels)][0], urgency=labels[index % len(labels)][1], mark=mark)
        for index in range(count)
    ]
    rng.shuffle(made)
    return made


def training() -> list[Ticket]:
    """The tickets of train.jsonl."""
    return tickets(TRAIN_ROWS, seed=1, mark="-")


def validation() -> list[Ticket]:
    """The tickets of valid.jsonl."""
    return tickets(VALID_ROWS, seed=2, mark="+")


def write(path: Path, made: list[Ticket]) -> None:
    """One chat per line, UTF-8."""
    path.write_text("".join(json.dumps(one.chat(), ensure_ascii=False) + "\n" for one in made), "utf-8")


if __name__ == "__main__":
    write(HERE / "train.jsonl", training())
    write(HERE / "valid.jsonl", validation())
