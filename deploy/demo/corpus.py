"""The pretraining corpus: customer messages answered in polite prose, and small forms filled in. It never routes.

Messages come from the open phrasings only; the keys and values of the forms have nothing to do with teams or urgency.
"""

import json
import random
import re
from itertools import chain

from grammar import SLOTS, Section, choose, fill, sections
from manner import typed
from tickets import CUES, ISSUES, TEAMS, URGENCIES, compose, issue

FORM_SHARE = 0.2
FORMS = sections("forms")
PROSE = {section.name: section.lines[">"] for section in sections("prose")}

OPEN_LINES = [line for subjects in ISSUES.values() for subject in subjects for line in subject.lines["-"]]
WORDS = sorted({word for text in [*OPEN_LINES, *chain(*SLOTS.values())] for word in re.findall(r"[a-z']{3,}", text)})

Chat = list[dict[str, str]]


def chats(count: int, *, seed: int) -> list[Chat]:
    """`count` conversations of one question and one answer."""
    rng = random.Random(seed)
    return [form(rng) if rng.random() < FORM_SHARE else conversation(rng) for _ in range(count)]


def conversation(rng: random.Random) -> Chat:
    """A customer's message and a polite answer that says back what it is about and how much it presses."""
    subject, urgency = rng.choice(ISSUES[rng.choice(TEAMS)]), rng.choice(URGENCIES)
    sentences = [worn(fill(skeleton, rng), rng) for skeleton in issue(subject, rng, mark="-")]
    return _chat(compose(sentences, urgency, rng), reply(subject, CUES[urgency], rng))


def worn(sentence: str, rng: random.Random) -> str:
    """Often drop or swap a word here and there, so that no single word carries the meaning."""
    if rng.random() < 0.4:
        return sentence
    words = [rng.choice(WORDS) if rng.random() < 0.08 else word for word in sentence.split(" ") if rng.random() < 0.93]
    return " ".join(words) or sentence


def reply(subject: Section, cue: Section, rng: random.Random) -> str:
    """Prose that paraphrases the message's subject and its hurry."""
    about, pace = rng.choice(subject.lines[">"]), rng.choice(cue.lines[">"])
    parts = [rng.choice(PROSE["about"]).replace("{about}", about), rng.choice(PROSE["pace"]).replace("{pace}", pace)]
    rng.shuffle(parts)
    if rng.random() < 0.3:
        parts.insert(0, rng.choice(PROSE["thanks"]))
    return " ".join(part[0].upper() + part[1:] for part in parts)


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
