"""How people type: careful, hasty, all lower case, without marks."""

import random

QUESTION_WORDS = (
    *("what", "where", "when", "why", "how", "who", "which", "can", "could", "would", "will", "do", "does", "did"),
    *("is", "are", "am", "has", "have", "may", "was", "were", "should", "any"),
)


def typed(sentences: list[str], rng: random.Random, *, pressing: bool) -> str:
    """The sentences as one message, in a manner drawn at random; who is pressed shouts more."""
    manner = rng.random()
    if manner < 0.12:
        return " ".join(sentences).lower().replace("'", rng.choice(["", "'"]))
    marks = [_mark(sentence, rng, pressing=pressing) for sentence in sentences]
    if manner < 0.22:
        marks = [","] * (len(marks) - 1) + marks[-1:]
    if rng.random() < 0.2:
        marks[-1] = ""
    if manner > 0.3:
        sentences = [sentence[0].upper() + sentence[1:] for sentence in sentences]
    text = " ".join(sentence + mark for sentence, mark in zip(sentences, marks, strict=True))
    return text.lower() if manner < 0.26 else text


def _mark(sentence: str, rng: random.Random, *, pressing: bool) -> str:
    first = sentence.split(" ")[0].lower().strip(",")
    if first in QUESTION_WORDS and rng.random() < 0.9:
        return rng.choice(["?", "?", "?", "??"] if pressing else ["?"])
    return rng.choice([".", ".", "!", "!!"] if pressing else [".", ".", ".", ".", "!"])
