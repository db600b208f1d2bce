"""Is the validation data really unseen: by message and by skeleton, an issue's phrasing with its slots blank?"""

import json
import random
import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def pretrained() -> tuple[list[list[dict[str, str]]], set[str]]:
    """The very corpus that the base model was built from, and every skeleton that was filled for it."""
    import build
    import corpus

    skeletons: set[str] = set()
    fill = corpus.fill  # type: ignore[attr-defined]

    def recording(skeleton: str, rng: random.Random) -> str:
        skeletons.add(skeleton)
        return fill(skeleton, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "fill", recording)
        return corpus.chats(build.CHATS, seed=build.CORPUS_SEED), skeletons


def plain(text: str) -> str:
    """Bare lower-case words, every slot a `_`."""
    return " ".join(re.sub(r"[^a-z0-9_ ]", "", re.sub(r"\{\w+\}", "_", text).lower()).split())


def messages(path: Path) -> set[str]:
    return {plain(json.loads(line)["messages"][0]["content"]) for line in path.read_text("utf-8").splitlines()}


def test_no_validation_skeleton_is_in_training(demo: Path) -> None:
    import tickets

    held_out = {plain(skeleton) for made in tickets.validation() for skeleton in made.skeletons}
    trained = {plain(skeleton) for made in tickets.training() for skeleton in made.skeletons}

    assert len(held_out) >= 100
    assert len(trained) >= 900
    assert not held_out & trained


def test_no_validation_skeleton_is_in_pretraining(pretrained: tuple[list[object], set[str]]) -> None:
    import tickets

    held_out = {plain(skeleton) for made in tickets.validation() for skeleton in made.skeletons}
    seen = {plain(skeleton) for skeleton in pretrained[1]}

    assert len(seen) >= 10_000
    assert not held_out & seen


def test_no_validation_message_is_in_training_or_pretraining(
    demo: Path, pretrained: tuple[list[list[dict[str, str]]], set[str]]
) -> None:
    held_out = messages(demo / "valid.jsonl")

    assert len(held_out) == 100
    assert not held_out & messages(demo / "train.jsonl")
    assert not held_out & {plain(chat[0]["content"]) for chat in pretrained[0]}


def test_the_pretraining_answers_never_route(pretrained: tuple[list[list[dict[str, str]]], set[str]]) -> None:
    from tickets import TEAMS, URGENCIES

    answers = [chat[1]["content"] for chat in pretrained[0]]
    forms = [json.loads(answer) for answer in answers if answer.startswith("{")]

    assert forms
    assert not {"team", "urgency"} & {key for form in forms for key in form}
    assert not {*TEAMS, *URGENCIES} & {value for form in forms for value in form.values()}
    assert not [answer for answer in answers if re.search(r"\b(team|urgen\w+)\b", answer, re.IGNORECASE)]
