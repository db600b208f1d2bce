"""Is the validation data really unseen: by message, by skeleton, and by text?"""

import json
import re
from pathlib import Path

import pytest


def plain(text: str) -> str:
    """Only lower-case letters, digits and blanks, so that no difference in typing hides a repetition."""
    return " ".join(re.sub(r"[^a-z0-9{}_ ]", "", text.lower()).split())


def skeleton(text: str) -> str:
    return plain(re.sub(r"\{\w+\}", " _ ", text))


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    import build
    import corpus

    return [chat[0]["content"] for chat in corpus.chats(build.CHATS, seed=build.CORPUS_SEED)]


def messages(path: Path) -> list[str]:
    return [json.loads(line)["messages"][0]["content"] for line in path.read_text("utf-8").splitlines()]


def test_no_validation_skeleton_can_be_made_from_an_open_phrasing() -> None:
    from grammar import expansions
    from tickets import ISSUES

    made: dict[str, set[str]] = {"-": set(), "+": set()}
    for subjects in ISSUES.values():
        for subject in subjects:
            for mark, known in made.items():
                known.update(skeleton(form) for line in subject.lines[mark] for form in expansions(line))

    assert len(made["+"]) >= 80
    assert not made["+"] & made["-"]


def test_every_subject_is_held_out_in_phrasings_of_its_own() -> None:
    from tickets import ISSUES

    assert all(subject.lines["+"] for subjects in ISSUES.values() for subject in subjects)


def test_no_validation_message_is_in_training_or_pretraining(demo: Path, corpus: list[str]) -> None:
    held_out = {plain(message) for message in messages(demo / "valid.jsonl")}

    assert len(held_out) == 100
    assert not held_out & {plain(message) for message in messages(demo / "train.jsonl")}
    assert not held_out & {plain(message) for message in corpus}


def test_no_validation_phrasing_occurs_inside_a_training_or_pretraining_message(demo: Path, corpus: list[str]) -> None:
    from tickets import validation

    seen = "\n".join(plain(message) for message in [*messages(demo / "train.jsonl"), *corpus])
    phrasings = {form for ticket in validation() for form in ticket.skeletons}

    for form in phrasings:
        pattern = r"[^\n]{1,40}?".join(re.escape(plain(part)) for part in re.split(r"\{\w+\}", form))
        assert not re.search(pattern, seen), form


def test_the_pretraining_answers_never_route(corpus: list[str]) -> None:
    import build
    from corpus import chats
    from tickets import TEAMS, URGENCIES

    answers = [chat[1]["content"] for chat in chats(build.CHATS, seed=build.CORPUS_SEED)]

    forms = [json.loads(answer) for answer in answers if answer.startswith("{")]
    assert forms
    assert not {"team", "urgency"} & {key for form in forms for key in form}
    assert not {*TEAMS, *URGENCIES} & {value for form in forms for value in form.values()}
    assert not [answer for answer in answers if re.search(r"\b(team|urgen\w+)\b", answer, re.IGNORECASE)]
