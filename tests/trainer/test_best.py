"""Early stopping and the best checkpoint: decided by the loss on all validation rows, the same however interrupted."""

import json
import shutil

import pytest

from tests.trainer.conftest import WORDS, chat, of_kind, train_here, write_job, write_rows
from tests.trainer.process import hashes
from workers.trainer import answers, best, checkpoints, patience, preparation, run, templates
from workers.trainer.checkpoints import History
from workers.trainer.lifeline import Lifeline
from workers.trainer.schedule import learning_rate
from workers.trainer.spec import Base, Hyperparameters, load

pytestmark = pytest.mark.slow

RATES = {"lora": 0.02, "full": 0.005}
PATIENCE = 2


def write_rising(directory, base, training_type, **changes):
    """A job whose validation answers stand nowhere in its training rows: their loss falls, and soon rises."""
    job = write_job(
        directory, base, training_type=training_type, epochs=8, eval_steps=4, learning_rate=RATES[training_type],
        lora_dropout=0.1, **{"early_stopping_patience": PATIENCE, "keep_best": True, **changes},
    )  # fmt: skip
    rows = [chat(place) for place in range(100, 106)]
    for place, row in enumerate(rows):
        row["messages"][-1]["content"] = WORDS[5 + place % 3]
    write_rows(job / "valid.jsonl", rows)
    return job


@pytest.fixture(scope="module", params=["lora", "full"])
def ended(request, tiny, tmp_path_factory):
    job = write_rising(tmp_path_factory.mktemp("ended") / "job", tiny, request.param)
    return request.param, job, train_here(job)


def losses(lines):
    return {line["step"]: line["full_valid_loss"] for line in of_kind(lines, "metrics") if "full_valid_loss" in line}


def best_step(lines):
    found = losses(lines)
    return min(found, key=lambda step: (found[step], step))


def test_a_run_ends_once_the_loss_has_not_fallen_for_so_many_evaluations_and_says_so(ended):
    _, _, lines = ended
    best, found = best_step(lines), losses(lines)
    assert sum(step > best for step in found) == PATIENCE
    [said] = of_kind(lines, "ended_early")
    assert (said["step"], said["planned_steps"]) == (max(found), 48)
    assert (said["evaluations"], said["fell"]) == (PATIENCE, {"step": best, "full_valid_loss": found[best]})
    assert said["total_steps"] == said["step"] == of_kind(lines, "metrics")[-1]["step"] < 48
    assert said["seconds_left"] >= 0


def test_neither_the_best_evaluation_nor_the_last_need_be_at_the_end_of_an_epoch(ended):
    _, job, lines = ended
    made = {line["step"]: line["kind"] for line in of_kind(lines, "checkpoint")}
    last = of_kind(lines, "metrics")[-1]["step"]
    assert best_step(lines) % 6
    assert last % 6
    assert (made[best_step(lines)], made[last]) == ("resume", "stop")
    assert {f"step-{best_step(lines)}", f"step-{last}"} < {path.name for path in (job / "checkpoints").iterdir()}


def test_the_learning_rate_is_that_of_the_whole_run(ended):
    _, job, lines = ended
    settings = load(job).hyperparameters
    for line in of_kind(lines, "metrics"):
        assert line["learning_rate"] == learning_rate(line["step"], total_steps=48, settings=settings)


def test_the_model_is_the_best_checkpoint_and_done_tells_its_step_and_metrics(ended):
    _, job, lines = ended
    best = best_step(lines)
    assert hashes(job / "model") == hashes(job / "checkpoints" / f"step-{best}" / "weights")
    done, metrics = lines[-1], of_kind(lines, "metrics")
    assert [line["step"] for line in of_kind(lines, "best")] == [done["metrics"]["step"]] == [best]
    assert done["metrics"]["train_loss"] == metrics[best - 1]["train_loss"]
    steps = {name: done["manifest"][name] for name in ("steps", "planned_steps", "model_step")}
    assert steps == {"steps": len(metrics), "planned_steps": 48, "model_step": best}
    assert done["trained_tokens"] == sum(line["tokens"] for line in metrics)
    assert [line["step"] for line in of_kind(lines, "checkpoint") if line["best"]][-1] == best


def test_the_answers_are_those_of_the_model(ended, tiny):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    training_type, job, _ = ended
    base = AutoModelForCausalLM.from_pretrained(tiny)
    whole = training_type == "full"
    model = AutoModelForCausalLM.from_pretrained(job / "model") if whole else PeftModel.from_pretrained(
        base, job / "model"
    )  # fmt: skip
    written = [json.loads(line) for line in (job / "answers.jsonl").read_text().splitlines()]
    template = templates.load(Base("tiny", str(tiny)))
    prompts = [answers.prompt_ids(template, answer["messages"], None) for answer in written]
    again = answers.answer(model.eval(), template, prompts, room=16, environment={"device": "cpu", "dtype": "float32"})
    assert [text.startswith(answer["tuned"]) for text, answer in zip(again, written, strict=True)] == [True] * 4


class Killed(BaseException):
    pass


def killed_at(job, kind, step=0):
    """Run the job until it says a line of this kind at this step, and no further; returns its lines."""
    lines = []

    def say(line):
        lines.append(line)
        if line["type"] == kind and line.get("step", step) >= step:
            raise Killed

    with pytest.raises(Killed):
        run.main(job, Lifeline(), say)
    return lines


def test_a_run_killed_at_every_turn_ends_at_the_same_step_with_the_same_bytes(ended, tiny, tmp_path):
    training_type, undisturbed, lines = ended
    job = write_rising(tmp_path / "job", tiny, training_type)
    best, last = best_step(lines), of_kind(lines, "metrics")[-1]["step"]
    turns = [
        ("metrics", best), ("checkpoint", best), ("metrics", last), ("checkpoint", last), ("ended_early", last),
        ("best", best), ("answers", 0),
    ]  # fmt: skip
    for kind, step in turns:
        killed_at(job, kind, step)
    resumed = train_here(job)
    assert resumed[0]["resumed_from"] == last
    assert not of_kind(resumed, "metrics")
    assert len(of_kind(resumed, "ended_early")) == 1
    assert hashes(job / "model") == hashes(undisturbed / "model")
    assert resumed[-1]["manifest"]["best"] == lines[-1]["manifest"]["best"]


def test_on_an_empty_disk_the_newest_and_the_best_checkpoint_are_enough_and_the_newest_alone_is_not(
    ended, tiny, tmp_path
):
    training_type, undisturbed, lines = ended
    best, last = best_step(lines), of_kind(lines, "metrics")[-1]["step"]
    for fetched, resumed_from in (([best, last], last), ([last], None)):
        job = write_rising(tmp_path / f"{len(fetched)}", tiny, training_type)
        for step in fetched:
            name = f"checkpoints/step-{step}"
            shutil.copytree(undisturbed / name, job / name)
        assert train_here(job)[0]["resumed_from"] == resumed_from
        assert hashes(job / "model") == hashes(undisturbed / "model")


def test_a_checkpoint_whose_best_one_is_gone_is_passed_over_for_one_that_can_be_exported(ended, tmp_path):
    _, undisturbed, lines = ended
    best, last = best_step(lines), of_kind(lines, "metrics")[-1]["step"]
    for step in (best, last):
        shutil.copytree(undisturbed / "checkpoints" / f"step-{step}", tmp_path / f"step-{step}")
    assert checkpoints.newest(tmp_path, with_best=True).step == last
    damage(tmp_path / f"step-{best}")
    assert checkpoints.newest(tmp_path).step == last
    assert checkpoints.newest(tmp_path, with_best=True) is None


def damage(checkpoint):
    weights = next((checkpoint / "weights").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])


def test_right_after_a_new_best_a_run_can_still_go_on_from_the_checkpoint_before_it(ended, tiny, tmp_path):
    training_type, undisturbed, lines = ended
    best = best_step(lines)
    job = write_rising(tmp_path / "job", tiny, training_type, checkpoint_seconds=0)
    killed_at(job, "metrics", best + 1)
    damage(job / "checkpoints" / f"step-{best}")
    assert train_here(job)[0]["resumed_from"] == best - 1
    assert hashes(job / "model") == hashes(undisturbed / "model")


def test_damaged_checkpoints_beyond_the_step_that_a_run_goes_on_from_push_no_new_one_out(tiny, tmp_path):
    job = write_rising(tmp_path / "job", tiny, "lora", checkpoint_seconds=0)
    killed_at(job, "metrics", 4)
    for made in (job / "checkpoints").iterdir():
        damage(made)
    killed_at(job, "metrics", 2)
    assert [path.name for path in (job / "checkpoints").iterdir()] == ["step-1"]


def test_nothing_but_the_model_of_the_best_checkpoint_is_loaded_to_be_exported(ended):
    _, job, lines = ended
    ended_run = preparation.prepare(job, Lifeline(), lambda line: None)
    assert ended_run.engine.optimizer.state
    assert best.take(ended_run, lambda line: None)["step"] == best_step(lines)
    assert not ended_run.engine.optimizer.state


def test_without_keep_best_the_last_weights_are_the_model_and_an_epoch_is_the_best_checkpoint(tiny, tmp_path):
    job = write_rising(tmp_path / "job", tiny, "full", keep_best=False)
    lines = train_here(job)
    last = of_kind(lines, "ended_early")[0]["step"]
    assert last < 48
    assert not of_kind(lines, "best")
    assert hashes(job / "model") == hashes(job / "checkpoints" / f"step-{last}" / "weights")
    assert {line["kind"] for line in of_kind(lines, "checkpoint") if line["best"]} == {"epoch"}


def test_without_a_target_to_measure_the_last_weights_are_the_model_and_a_warning_says_why(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1, keep_best=True, early_stopping_patience=1)
    write_rows(job / "valid.jsonl", [chat(1, weight=0)])
    lines = train_here(job)
    assert "the model is the last one" in of_kind(lines, "warning")[0]["message"]
    assert (lines[-1]["step"], lines[-1]["metrics"]["step"]) == (6, 6)


@pytest.mark.parametrize(
    ("measured", "delta", "ends_at"),
    [
        ([3.0, 2.0, 2.0, 2.0], 0.0, 4),
        ([3.0, 3.1, 2.9, 3.0, 2.8, 2.7, 2.6], 0.0, None),
        ([3.0, 2.95, 2.85, 2.84, 2.80], 0.1, 5),
        ([3.0, 2.95, 2.85, 2.84, 2.70], 0.1, None),
        ([3.0, None, None, None, 3.0], 0.0, None),
    ],
)
def test_the_loss_must_fall_by_more_than_the_delta_and_what_was_not_measured_counts_not(measured, delta, ends_at):
    settings = Hyperparameters(
        epochs=1, batch_size=1, learning_rate=1, early_stopping_patience=2, early_stopping_delta=delta
    )
    history, found = History(), None
    for step, loss in enumerate(measured, start=1):
        history.last = {} if loss is None else {"full_valid_loss": loss}
        patience.evaluated(history, settings, step=step)
        found = found or (step if patience.is_over(history, settings) else None)
    assert found == ends_at
