"""The hardest rows are those with the highest loss of the tuned model, each by itself, under their own line."""

import json

import numpy as np
import pytest
import torch

from tests.trainer.conftest import chat, of_kind, preference, write_job, write_preferences, write_rows
from workers.trainer import batches, hardest, preparation, run, schedule
from workers.trainer.engine import Sums
from workers.trainer.lifeline import Lifeline
from workers.trainer.preparation import Stopped

pytestmark = pytest.mark.slow


def trained(job):
    """A run whose steps are taken."""
    prepared = preparation.prepare(job, Lifeline(), lambda line: None)
    while prepared.step < prepared.total_steps:
        run.advance(prepared, Lifeline(), lambda line: None)
    return prepared


def written(prepared):
    lines = []
    hardest.write(prepared, Lifeline(), lines.append)
    rows = [json.loads(line) for line in (prepared.directory / "hardest.jsonl").read_text().splitlines()]
    return of_kind(lines, "hardest")[0]["found"], rows


def alone(prepared, rows) -> dict[int, float]:
    """The mean loss of each row in a pass of its own, by line."""
    prepared.engine.model.eval()
    sums: dict[int, Sums] = {
        int(rows.lines[row]): prepared.engine.measure(pack)
        for row in range(len(rows))
        for pack in batches.packs(rows, [row], budget=1)
    }
    return {line: each.mean_loss for line, each in sums.items()}


@pytest.mark.parametrize(
    ("write", "row", "training_type"), [(write_job, chat, "full"), (write_preferences, preference, "lora")]
)
def test_the_ten_rows_of_each_file_are_the_worst_when_every_row_is_measured_alone(
    tiny, tmp_path, write, row, training_type
):
    job = write(tmp_path / "job", tiny, epochs=1, training_type=training_type, lora_dropout=0.5)
    rows = "".join(json.dumps(row(place)) + "\n" + "\n" * (place % 3 == 0) for place in range(24))
    (job / "train.jsonl").write_text(rows)  # empty lines count
    prepared = trained(job)
    told, found = written(prepared)
    for kind, file in (("training", prepared.train), ("validation", prepared.valid)):
        expected = alone(prepared, file)
        worst = sorted(expected, key=lambda line: -expected[line])[:10]
        assert told[kind]["lines"] == [each["line"] for each in found if each["rows"] == kind]
        assert told[kind]["losses"] == pytest.approx([expected[line] for line in worst], rel=1e-5)
        assert [expected[line] for line in told[kind]["lines"]] == pytest.approx(told[kind]["losses"], rel=1e-5)
        assert (told[kind]["looked_at"], told[kind]["rows"]) == (len(file), len(file))


def test_a_wrong_answer_among_right_ones_is_first_with_its_text(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=6, learning_rate=0.02, training_type="full", valid=0)
    rows = [chat(3 * place) for place in range(24)]
    rows[16] = {"messages": [rows[16]["messages"][0], {"role": "assistant", "content": "seven broken password"}]}
    write_rows(job / "train.jsonl", rows)
    told, found = written(trained(job))
    assert (found[0]["line"], found[0]["trained_text"]) == (17, "seven broken password")
    assert "validation" not in told


def test_a_loss_that_is_no_number_comes_first_and_is_null(tiny, tmp_path):
    prepared = preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None)
    prepared.engine.model.lm_head.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    told, found = written(prepared)
    assert told["training"]["lines"] == list(range(1, 11))
    assert {each["loss"] for each in found} == {None}


def test_a_stop_is_heard_between_passes_and_leaves_no_file(tiny, tmp_path):
    prepared = preparation.prepare(write_job(tmp_path / "job", tiny), Lifeline(), lambda line: None)
    stopping = Lifeline()
    stopping.stop_asked = True
    with pytest.raises(Stopped):
        hardest.write(prepared, stopping, lambda line: None)
    assert not (prepared.directory / "hardest.jsonl").exists()


@pytest.mark.parametrize("rows", [1, 2000, 2001, 50_000])
def test_of_many_rows_as_many_as_allowed_are_looked_at_from_all_over_the_file(rows):
    chosen = schedule.looked_at(rows)
    assert len(chosen) == len(set(chosen)) == min(rows, 2000)
    gaps = np.diff(chosen)
    assert chosen[0] == 0
    assert set(gaps) <= {rows // len(chosen), rows // len(chosen) + 1}
