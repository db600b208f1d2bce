"""Rows that are held out: a run with them is to the bit the run on two files, and their lines are those of the one."""

import json

import pytest

from app.core import carveout
from tests.trainer.conftest import chat, of_kind, preference, train_here, write_job, write_preferences, write_rows
from tests.trainer.process import hashes
from workers.trainer import inspection

pytestmark = pytest.mark.slow

ROWS, SHARE, SEED = 24, 0.25, 7
HELD = carveout.places(ROWS, SHARE, seed=SEED)
OURS = {"supervised": (write_job, chat), "dpo": (write_preferences, preference)}
BEST = {"epochs": 3, "eval_steps": 4, "early_stopping_patience": 2, "keep_best": True, "lora_dropout": 0.1}


@pytest.fixture(scope="module", params=["supervised", "dpo"])
def pair(request, tiny, tmp_path_factory):
    """The same job twice, with what each says: its rows in one file, and split by hand into two."""
    write, row = OURS[request.param]
    place = tmp_path_factory.mktemp("carved")
    one, two = (write(place / name, tiny, seed=SEED, rows=ROWS, **BEST) for name in ("one", "two"))
    spec = json.loads((one / "spec.json").read_text())
    spec["hyperparameters"]["eval_carveout"] = SHARE
    (one / "spec.json").write_text(json.dumps(spec))
    (one / "valid.jsonl").unlink()
    rows = [row(number) for number in range(ROWS)]
    write_rows(two / "train.jsonl", [rows[number] for number in range(ROWS) if number not in HELD])
    write_rows(two / "valid.jsonl", [rows[number] for number in HELD])
    return (one, train_here(one)), (two, train_here(two))


def without_clocks(lines):
    clocks = ("tokens_per_second", "memory_bytes")
    return [{name: value for name, value in line.items() if name not in clocks} for line in of_kind(lines, "metrics")]


def test_rows_that_are_held_out_are_measured_and_never_trained_on(pair):
    (one, carved), (two, split) = pair
    assert without_clocks(carved) == without_clocks(split)
    assert hashes(one / "model") == hashes(two / "model")
    assert carved[-1]["trained_tokens"] == split[-1]["trained_tokens"]
    assert of_kind(carved, "best") == of_kind(split, "best") != []


def test_held_out_rows_are_answered_and_named_by_their_lines_in_the_file(pair):
    (one, _), (two, _) = pair
    carved, split = (
        [json.loads(line) for line in (job / "answers.jsonl").read_text().splitlines()] for job in (one, two)
    )
    assert [answer.pop("line") for answer in carved] == [place + 1 for place in HELD[:4]]
    assert [answer.pop("line") for answer in split] == [1, 2, 3, 4]
    assert carved == split


def test_the_hardest_of_the_held_out_rows_are_told_as_such_by_their_lines_in_the_file(pair):
    (_, carved), (_, split) = pair
    [ours], [theirs] = (of_kind(lines, "hardest") for lines in (carved, split))
    found, apart = ours["found"]["held_out"], theirs["found"]["validation"]
    assert found["lines"] == [HELD[line - 1] + 1 for line in apart["lines"]]
    assert found["losses"] == apart["losses"]


def test_the_file_is_counted_as_it_is_trained_on(pair):
    (one, lines), _ = pair
    said: list[dict] = []
    inspection.inspect(one, said.append)
    [counted] = said
    assert (counted["rows"], counted["held_out"]["rows"]) == (ROWS, len(HELD))
    of_one_epoch = sum(line["tokens"] for line in of_kind(lines, "metrics")[:5])
    assert carveout.trained_part(counted)["tokens"] == of_one_epoch


def test_cut_rows_are_told_apart_by_what_they_are_for_and_each_by_its_line(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, seed=SEED, valid=0, epochs=1, eval_carveout=SHARE, max_length=40)
    long = {"messages": chat(2)["messages"] * 5}
    kept = next(place for place in range(ROWS) if place not in HELD)
    write_rows(job / "train.jsonl", [long if place in (kept, HELD[1]) else chat(place) for place in range(ROWS)])
    trained, held = of_kind(train_here(job), "warning")
    assert (trained["data"]["lines"], held["data"]["lines"]) == ([kept + 1], [HELD[1] + 1])
    assert "held-out" in held["message"]
    assert "held-out" not in trained["message"]
