"""The pretraining corpus: customer messages answered in polite prose, and small forms filled in. It never routes.

Messages come from open skeletons only, worn or not; the keys and values of the forms have nothing to do with teams or
urgency.
"""

import json
import random
import re
from itertools import chain

from grammar import SLOTS, Section, choose, fill, sections
from manner import typed
from tickets import CUES, ISSUES, TEAMS, URGENCIES, compose, issue

FORM_SHARE, NOTE_SHARE = 0.1, 0.2
FORMS = sections("forms")
PROSE = {section.name: section.lines[">"] for section in sections("prose")}

OPEN_LINES = [line for subjects in ISSUES.values() for subject in subjects for line in subject.lines["-"]]
WORDS = sorted({word for text in [*OPEN_LINES, *chain(*SLOTS.values())] for word in re.findall(r"[a-z']{3,}", text)})

Chat = list[dict[str, str]]


def chats(count: int, *, seed: int) -> list[Chat]:
    """`count` conversations of one question and one answer."""
    rng = random.Random(seed)
    kinds = rng.choices([form, note, conversation], [FORM_SHARE, NOTE_SHARE, 1 - FORM_SHARE - NOTE_SHARE], k=count)
    return [kind(rng) for kind in kinds]


def conversation(rng: random.Random) -> Chat:
    """A customer's message and a polite answer that says back what it is about and how much it presses."""
    topic, subject, urgency, message = _message(rng)
    return _chat(message, reply(PROSE[topic], subject, CUES[urgency], rng))


def note(rng: random.Random) -> Chat:
    """A customer's message to be noted down: the prose's paraphrases as a short JSON object."""
    _, subject, urgency, message = _message(rng)
    about, pace = rng.choice(PROSE["note"]).split(", ")
    noted = {about: rng.choice(subject.lines[">"]), pace: rng.choice(CUES[urgency].lines[">"])}
    request = rng.choice(PROSE["form"]).replace("{keys}", f"{about}, {pace}")
    return _chat(f"{request} {message}", json.dumps(noted))


def _message(rng: random.Random) -> tuple[str, Section, str, str]:
    topic, urgency = rng.choice(TEAMS), rng.choice(URGENCIES)
    subject = rng.choice(ISSUES[topic])
    sentences = [fill(skeleton, rng) for skeleton in worn_issue(subject, rng)]
    return topic, subject, urgency, compose(sentences, urgency, rng, rare=True)


def worn_issue(subject: Section, rng: random.Random) -> list[str]:
    """Open skeletons of the subject, often worn."""
    return [_wear(skeleton, rng) for skeleton in issue(subject, rng, validation=False)]


def _wear(skeleton: str, rng: random.Random) -> str:
    """Often drop or swap a word here and there, so that no single word carries the meaning."""
    if rng.random() < 0.4:
        return skeleton
    words = [rng.choice(WORDS) if rng.random() < 0.08 else word for word in skeleton.split(" ") if rng.random() < 0.93]
    return " ".join(words) or skeleton


def reply(topics: list[str], subject: Section, cue: Section, rng: random.Random) -> str:
    """Prose that paraphrases the message's topic, its subject and its hurry, or its hurry alone."""
    about = rng.choice(PROSE["about"]).replace("{topic}", rng.choice(topics))
    about = about.replace("{about}", rng.choice(subject.lines[">"]))
    pace = rng.choice(PROSE["pace"]).replace("{pace}", rng.choice(cue.lines[">"]))
    thanks = [rng.choice(PROSE["thanks"])] if rng.random() < 0.3 else []
    said = [about] if rng.random() < 0.65 else []
    return " ".join([*thanks, *said, pace[0].upper() + pace[1:]])


def form(rng: random.Random) -> Chat:
    """A sentence or two with facts in them, and the facts as a short JSON object."""
    answers, sentences = {}, []
    for section in rng.sample(FORMS, 2):
        key, _, values = section.name.partition(": ")
        answers[key] = rng.choice(values.split(" | "))
        sentence = fill(choose(rng.choice(section.lines["-"]), rng), rng)
        sentences.append(sentence.replace("<value>", answers[key]))
    keys = ", ".join(answers)
    rng.shuffle(sentences)
    asked = typed(sentences, rng, pressing=False)
    if rng.random() < 0.7:
        asked = rng.choice(PROSE["form"]).replace("{keys}", keys) + " " + asked
    return _chat(asked, json.dumps(answers))


def _chat(question: str, answer: str) -> Chat:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
