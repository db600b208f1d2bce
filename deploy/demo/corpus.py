"""The pretraining corpus: customer messages answered in polite prose, and small forms filled in. It never routes.

Messages come from the open phrasings only; the keys and values of the forms have nothing to do with teams or urgency.
"""

import json
import random

from grammar import choose, fill, sections
from manner import typed
from tickets import CUES, TEAMS, URGENCIES, Ticket, ticket

FORM_SHARE = 0.2
FORMS = sections("forms")
PROSE = {section.name: section.lines[">"] for section in sections("prose")}

Chat = list[dict[str, str]]


def chats(count: int, *, seed: int) -> list[Chat]:
    """`count` conversations of one question and one answer."""
    rng = random.Random(seed)
    return [form(rng) if rng.random() < FORM_SHARE else conversation(rng) for _ in range(count)]


def conversation(rng: random.Random) -> Chat:
    """A customer's message and a polite answer that says back what it is about and how much it presses."""
    asked = ticket(rng, team=rng.choice(TEAMS), urgency=rng.choice(URGENCIES), mark="-")
    return _chat(worn(asked.message, rng), reply(asked, rng))


def worn(message: str, rng: random.Random) -> str:
    """Now and then drop a word here and there, so that no single word carries the meaning."""
    if rng.random() < 0.5:
        return message
    return " ".join(word for word in message.split(" ") if rng.random() < 0.9) or message


def reply(asked: Ticket, rng: random.Random) -> str:
    """Prose that paraphrases the message's subject and its hurry."""
    about = rng.choice(asked.subject.lines[">"])
    pace = rng.choice(CUES[asked.urgency].lines[">"])
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
