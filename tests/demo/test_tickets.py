"""Do the shipped rows come from the generator, and say what they should?"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("name", "made"), [("train.jsonl", "training"), ("valid.jsonl", "validation")])
def test_generating_again_gives_the_shipped_bytes(demo: Path, tmp_path: Path, name: str, made: str) -> None:
    import tickets

    tickets.write(tmp_path / name, getattr(tickets, made)())

    assert (tmp_path / name).read_bytes() == (demo / name).read_bytes()


@pytest.mark.parametrize("name", ["train.jsonl", "valid.jsonl", "dev.jsonl", "free.jsonl"])
def test_every_answer_is_a_route_in_exactly_the_agreed_form(demo: Path, name: str) -> None:
    from tickets import TEAMS, URGENCIES

    routes = {json.dumps({"team": team, "urgency": urgency}) for team in TEAMS for urgency in URGENCIES}

    for row in rows(demo / name):
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert row["messages"][1]["content"] in routes


@pytest.mark.parametrize("name", ["train.jsonl", "valid.jsonl"])
def test_teams_and_urgencies_are_balanced(demo: Path, name: str) -> None:
    counted = Counter(row["messages"][1]["content"] for row in rows(demo / name))

    assert len(counted) == 15
    assert max(counted.values()) - min(counted.values()) <= 1


def test_free_messages_are_in_no_training_row(demo: Path) -> None:
    trained = {row["messages"][0]["content"].lower() for row in rows(demo / "train.jsonl")}
    free = {row["messages"][0]["content"].lower() for row in rows(demo / "free.jsonl")}

    assert len(free) == 40
    assert not free & trained
