"""Is the validation data really unseen: by message, and by skeleton, an issue's phrasing with its slots blank?"""

import itertools
import json
import re
from pathlib import Path

import pytest

Chats = list[list[dict[str, str]]]


@pytest.fixture(scope="module")
def pretraining() -> Chats:
    """The very corpus that the base model is built from."""
    import build
    import corpus

    return corpus.chats(build.CHATS, seed=build.CORPUS_SEED)


def plain(text: str) -> str:
    """Bare lower-case words, every slot a `_`, so that no difference in typing hides a repetition."""
    return " ".join(re.sub(r"[^a-z0-9_ ]", "", re.sub(r"\{\w+\}", "_", text).lower()).split())


def skeletons(line: str) -> set[str]:
    """Every skeleton that a line of the phrase files can become."""
    parts = re.split(r"\[([^\[\]]*)\]", line)
    choices = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    return {plain("".join(combination)) for combination in itertools.product(*choices)}


def messages(path: Path) -> list[str]:
    return [plain(json.loads(line)["messages"][0]["content"]) for line in path.read_text("utf-8").splitlines()]


def test_no_open_phrasing_can_become_a_validation_skeleton() -> None:
    from tickets import ISSUES

    subjects = [subject for team in ISSUES.values() for subject in team]
    held_out = {made for subject in subjects for line in subject.lines["+"] for made in skeletons(line)}

    assert len(held_out) >= 80
    for subject in subjects:
        for line in subject.lines["-"]:
            assert not held_out & skeletons(line), line


def test_every_subject_is_validated_by_phrasings_of_its_own() -> None:
    from tickets import ISSUES

    assert all(subject.lines["+"] for team in ISSUES.values() for subject in team)


def test_no_validation_message_is_in_training_or_pretraining(demo: Path, pretraining: Chats) -> None:
    held_out = set(messages(demo / "valid.jsonl"))

    assert len(held_out) == 100
    assert not held_out & set(messages(demo / "train.jsonl"))
    assert not held_out & {plain(chat[0]["content"]) for chat in pretraining}


def test_no_validation_skeleton_is_found_inside_a_training_or_pretraining_message(
    demo: Path, pretraining: Chats
) -> None:
    from tickets import validation

    seen = "\n".join([*messages(demo / "train.jsonl"), *(plain(chat[0]["content"]) for chat in pretraining)])

    for skeleton in {plain(skeleton) for ticket in validation() for skeleton in ticket.skeletons}:
        pattern = r"[^\n]{1,30}?".join(re.escape(part) for part in skeleton.split("_"))
        assert not re.search(pattern, seen), skeleton


def test_the_pretraining_answers_never_route(pretraining: Chats) -> None:
    from tickets import TEAMS, URGENCIES

    answers = [chat[1]["content"] for chat in pretraining]
    noted = [json.loads(answer) for answer in answers if answer.startswith("{")]

    assert noted
    assert not {"team", "urgency"} & {key for answer in noted for key in answer}
    assert not {*TEAMS, *URGENCIES} & {value for answer in noted for value in answer.values()}
    assert not [answer for answer in answers if re.search(r"\b(team|urgen\w+)\b", answer, re.IGNORECASE)]
