"""A whole run in this process: it learns, it reports, it exports, and it fails in words."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tests.trainer.conftest import chat, of_kind, train_here, write_job, write_rows
from workers.trainer import checkpoints, environment, failures, preparation, report
from workers.trainer import run as runs
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def learned(tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("learned") / "job"
    job = write_job(place, tiny, training_type="full", epochs=8, learning_rate=0.02, eval_steps=5)
    return job, train_here(job)


def test_the_loss_falls_in_training_and_in_validation(learned):
    metrics = of_kind(learned[1], "metrics")
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"] / 2
    evaluated = [line["full_valid_loss"] for line in metrics if "full_valid_loss" in line]
    assert evaluated[-1] < evaluated[0]


def test_every_step_has_one_metrics_line_with_all_its_numbers(learned):
    metrics = of_kind(learned[1], "metrics")
    assert [line["step"] for line in metrics] == list(range(1, 49))
    numbers = {
        "type", "step", "total_steps", "train_loss", "train_mean_token_accuracy", "learning_rate", "gradient_norm",
        "tokens", "tokens_per_second", "memory_bytes",
    }  # fmt: skip
    valid = {"valid_loss", "valid_mean_token_accuracy", "full_valid_loss", "full_valid_mean_token_accuracy"}
    for line in metrics:
        due = line["step"] % 6 == 0 or line["step"] % 5 == 0
        assert set(line) == numbers | (valid if due else set())


def test_the_newest_three_epochs_and_the_best_one_are_kept_and_nothing_half_written(learned):
    job, lines = learned
    epochs = [line for line in of_kind(lines, "checkpoint") if line["kind"] == "epoch"]
    assert [line["step"] for line in epochs] == [6, 12, 18, 24, 30, 36, 42, 48]
    best = min(epochs, key=lambda line: line["metrics"]["full_valid_loss"])
    kept = {path.name for path in (job / "checkpoints").iterdir()}
    assert kept == {f"step-{step}" for step in {36, 42, 48, best["step"]}}
    assert [line["step"] for line in epochs if line["best"]][-1] == best["step"]


def test_the_answers_are_written_and_counted(learned):
    job, lines = learned
    [counted] = of_kind(lines, "answers")
    written = [json.loads(line) for line in (job / "answers.jsonl").read_text().splitlines()]
    assert counted["total"] == len(written) == 4
    assert counted["tuned_exact"] == sum(a["tuned"].strip() == a["expected"].strip() for a in written)
    assert counted["base_exact"] == sum(a["base"].strip() == a["expected"].strip() for a in written) == 0
    assert all(a["messages"][-1]["role"] == "user" for a in written)


def test_a_full_model_is_loaded_as_it_is_and_names_no_directory_of_this_machine(learned, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job, _ = learned
    model = AutoModelForCausalLM.from_pretrained(job / "model")
    assert AutoTokenizer.from_pretrained(job / "model").chat_template
    assert not torch.isnan(next(model.parameters())).any()
    texts = [path.read_text() for path in (job / "model").iterdir() if path.suffix in (".json", ".jinja")]
    assert not any(str(job.parents[1]) in text for text in texts)
    assert {path.stat().st_mode & 0o777 for path in (job / "model").iterdir()} == {0o644}


def test_an_adapter_is_loaded_by_peft_and_answers_as_the_trained_model_did(tiny, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from workers.trainer import answers, templates
    from workers.trainer.spec import Base

    job = write_job(tmp_path / "job", tiny, epochs=6, learning_rate=0.05)
    train_here(job)
    config = json.loads((job / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["target_modules"] == sorted(config["target_modules"])
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), job / "model").eval()
    template = templates.load(Base("tiny", str(tiny)))
    written = [json.loads(line) for line in (job / "answers.jsonl").read_text().splitlines()]
    prompts = [answers.prompt_ids(template, answer["messages"], None) for answer in written]
    again = answers.answer(model, template, prompts, room=12, environment={"device": "cpu", "dtype": "float32"})
    assert again == [answer["tuned"] for answer in written]


def test_a_base_in_half_precision_comes_back_in_half_precision(tiny, tmp_path):
    from tests.trainer.conftest import build_model

    base = build_model(tmp_path / "half")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    weights = {name: tensor.bfloat16() for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    job = write_job(tmp_path / "job", base, training_type="full", epochs=1)
    train_here(job)
    assert {tensor.dtype for tensor in load_file(job / "model" / "model.safetensors").values()} == {torch.bfloat16}
    newest = checkpoints.newest(job / "checkpoints")
    assert {t.dtype for t in load_file(newest.weights / "model.safetensors").values()} == {torch.float32}


def prepared(tiny, tmp_path, **changes):
    job = write_job(tmp_path / "job", tiny, **changes)
    return preparation.prepare(job, Lifeline(), lambda line: None)


def test_every_lora_hyperparameter_reaches_the_adapter(tiny, tmp_path):
    run = prepared(
        tiny, tmp_path, lora_rank=3, lora_alpha=5, lora_dropout=0.25, lora_targets=["q_proj", "up_proj"],
        weight_decay=0.125, max_grad_norm=0.75, max_length=20,
    )  # fmt: skip
    config = run.engine.model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 5, 0.25)
    assert config.target_modules == {"q_proj", "up_proj"}
    assert run.engine.optimizer.param_groups[0]["weight_decay"] == 0.125
    assert run.engine.max_grad_norm == 0.75
    assert int((run.train.starts[1:] - run.train.starts[:-1]).max()) == 20


def test_all_linear_means_every_linear_layer_but_the_head(tiny, tmp_path):
    run = prepared(tiny, tmp_path)
    adapted = {name.split(".")[-4] for name, w in run.engine.model.named_parameters() if "lora_A" in name}
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} == {
        name.split(".lora_A")[0].split(".")[-1] for name, w in run.engine.model.named_parameters() if "lora_A" in name
    }, adapted


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"learning_rate": 0.002}, True),
        ({"scheduler": "constant"}, True),
        ({"warmup_steps": 0}, True),
        ({"weight_decay": 0.5}, True),
        ({"seed": 8}, True),
        ({"batch_size": 6}, True),
        ({"checkpoint_seconds": 0}, False),
        ({"eval_steps": 1}, False),
        ({"answers": 0}, False),
    ],
)
def test_what_should_change_the_weights_does_and_what_should_not_does_not(tiny, tmp_path, changes, differing):
    plain = write_job(tmp_path / "plain", tiny, epochs=1, max_grad_norm=0)
    other = write_job(tmp_path / "other", tiny, epochs=1, max_grad_norm=0, **changes)
    for job in (plain, other):
        train_here(job)
    one, two = (load_file(job / "model" / "adapter_model.safetensors") for job in (plain, other))
    assert any(not torch.equal(one[name], two[name]) for name in one) is differing


def test_cut_rows_are_a_warning_with_their_lines(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1, max_length=40)
    write_rows(job / "train.jsonl", [chat(1), {"messages": chat(2)["messages"] * 5}, chat(3)])
    [warning] = of_kind(train_here(job), "warning")
    assert warning["data"] == {"file": "train.jsonl", "count": 1, "lines": [2]}


def test_a_run_whose_rows_have_no_target_after_cutting_still_ends_well(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1, max_length=3, valid=2)
    lines = train_here(job)
    assert lines[-1]["type"] == "done"
    assert {line["train_loss"] for line in of_kind(lines, "metrics")} == {0.0}


def test_a_resume_on_another_machine_is_warned_about_and_goes_on(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1, environment={"threads": 1, "kernels": "ABACUS"})
    lines = train_here(job)
    [warning] = of_kind(lines, "warning")
    assert warning["data"]["kernels"]["frozen"] == "ABACUS"
    assert lines[-1]["type"] == "done"


def test_what_the_first_start_chose_is_what_a_resume_runs_with(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1, environment={"threads": 2, "pack_tokens": 77, "dtype": "float32"})
    chosen = of_kind(train_here(job), "started")[0]["environment"]
    assert (chosen["threads"], chosen["pack_tokens"], chosen["dtype"]) == (2, 77, "float32")
    assert torch.get_num_threads() == 2
    assert environment.differences(chosen, chosen) == {}


def test_a_loss_that_is_no_number_names_its_step_and_the_rows_that_cause_it(tiny, tmp_path):
    run = prepared(tiny, tmp_path, training_type="full", batch_size=24)
    lines = poisoned(run, run.train)
    with pytest.raises(Failure, match="step 1") as failed:
        runs.advance(run, Lifeline(), lambda line: None)
    assert failed.value.code == "loss_not_finite"
    assert f"rows of train.jsonl in it: lines {lines}. " in failed.value.message


@pytest.mark.parametrize(("share", "file"), [(0.0, "valid.jsonl"), (0.5, "train.jsonl")])
def test_a_validation_loss_that_is_no_number_names_its_step_and_the_rows_that_cause_it(tiny, tmp_path, share, file):
    run = prepared(tiny, tmp_path, training_type="full", valid=0 if share else 6, eval_carveout=share)
    lines = poisoned(run, run.valid)
    run.step = run.per_epoch
    with pytest.raises(Failure, match=f"The validation loss of step {run.step} is") as failed:
        runs.settle(run, Lifeline(), lambda line: None)
    assert failed.value.code == "loss_not_finite"
    assert f"rows of {file} in it: lines {lines}. " in failed.value.message


def poisoned(run, rows):
    """Let the model answer no number behind one token of one of the rows; returns the lines of those that hold it."""
    ids = [rows.ids[rows.starts[row] : rows.starts[row + 1]] for row in range(len(rows))]
    token = next(token for token in ids[5] if token not in ids[4])
    with torch.no_grad():
        run.engine.model.model.embed_tokens.weight[token] = float("nan")
        run.engine.model.lm_head.weight = torch.nn.Parameter(torch.randn_like(run.engine.model.lm_head.weight))
    return ", ".join(str(line) for line, held in zip(rows.lines, ids, strict=True) if token in held)


@pytest.mark.parametrize("bytes_asked", [1 << 46, 1 << 62])
def test_torchs_and_pythons_memory_errors_are_out_of_memory(bytes_asked):
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(bytes_asked, dtype=torch.uint8)
    with pytest.raises(MemoryError) as pythons:
        bytearray(bytes_asked)
    for error in (torchs.value, pythons.value):
        assert failures.explain(error).code == "out_of_memory"


def test_a_full_disk_is_known_by_the_words_of_every_library_that_writes():
    full = Path("/dev/full")
    with pytest.raises(OSError) as systems:
        full.write_text("x")
    with pytest.raises(Exception, match="No space left") as tokenizers:
        Tokenizer(WordLevel({"x": 0}, unk_token="x")).save(str(full))
    safetensors = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    for error in (systems.value, tokenizers.value, safetensors):
        assert failures.explain(error).code == "storage_full"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": {"name": "gone", "source": "./nowhere", "context_length": 64}}, "model_load_failed"),
        ({"lora_targets": ["no_such_module"]}, "lora_targets_unknown"),
        ({"method": "magic"}, "method_unsupported"),
        ({"method": "dpo"}, "spec_invalid"),  # without a beta
        ({"hyperparameters": {"epochs": 1}}, "spec_invalid"),
    ],
)
def test_each_kind_of_bad_job_fails_with_its_code(tiny, tmp_path, change, code):
    job = write_job(tmp_path / "job", tiny, **change)
    with pytest.raises(Failure) as failed:
        train_here(job)
    assert failed.value.code == code


def test_weights_that_are_no_safetensors_are_never_loaded(tiny, tmp_path):
    import shutil

    base = shutil.copytree(tiny, tmp_path / "pickled")
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(Failure) as failed:
        train_here(write_job(tmp_path / "job", base))
    assert failed.value.code == "model_load_failed"


def test_a_checkpoint_of_another_shape_is_refused_with_what_to_do(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1)
    train_here(job)
    write_job(job, tiny, epochs=2, lora_rank=2)
    with pytest.raises(Failure) as failed:
        train_here(job)
    assert failed.value.code == "checkpoint_unusable"


def test_a_warning_line_carries_its_details():
    lines = []
    report.warn(lines.append, "Look.", count=2)
    assert lines == [{"type": "warning", "message": "Look.", "data": {"count": 2}}]
