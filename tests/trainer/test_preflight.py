"""A preflight leaves no trace in the bits, and a job that cannot fit says so in words before its first step."""

import json
import re
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.conftest import (
    WORDS,
    build_model,
    chat,
    of_kind,
    preference,
    train_here,
    write_job,
    write_preferences,
    write_rows,
)
from tests.trainer.process import Trainer, hashes
from workers.trainer import batches, memory, preflight, preparation
from workers.trainer.failures import Failure
from workers.trainer.lifeline import Lifeline
from workers.trainer.preparation import Run
from workers.trainer.shortage import Taken

pytestmark = pytest.mark.slow

ROOM = 400 << 20


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()


def state(run: Run) -> dict[str, Any]:
    """Everything that the first step depends on, bit for bit."""
    model, optimizer = run.engine.model, run.engine.optimizer
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "bits": {name: bits(tensor) for name, tensor in tensors.items()},
        "longest": [getattr(module, "max_seq_len_cached", None) for module in model.modules()],
        "gradients": [name for name, weight in model.named_parameters() if weight.grad is not None],
        "optimizer": (len(optimizer.state), vars(optimizer).keys(), [group["lr"] for group in optimizer.param_groups]),
        "generator": bits(torch.get_rng_state()),
        "training": [module.training for module in model.modules()],
        "attention": model.config._attn_implementation,
    }  # fmt: skip


PROVE = preflight.prove


def flown(run: Run) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    flight = preflight.Flight(run.engine, run.spec.hyperparameters, run.meter, lambda: None)
    PROVE(flight, run.train, run.valid, lines.append)
    return lines


@pytest.fixture(scope="module")
def stretching(tmp_path_factory):
    """A model whose rotary embedding remembers the longest row that it has read."""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    place = tmp_path_factory.mktemp("models") / "stretching"
    return build_model(place, max_position_embeddings=24, rope_parameters=rope)


KINDS: dict[str, dict[str, Any]] = {
    "lora": {"training_type": "lora", "lora_dropout": 0.1},
    "full": {"training_type": "full", "weight_decay": 0.1},
    "bfloat16": {"training_type": "lora", "lora_dropout": 0.1, "environment": {"dtype": "bfloat16", "threads": 1}},
    "dpo": {"training_type": "lora", "lora_dropout": 0.1, "method": "dpo"},
    "stretching": {"training_type": "full", "valid": 0},
}


def job_of(kind: str, place: Path, tiny: Path, stretching: Path) -> Path:
    changes = {"epochs": 1, "answers": 0, **KINDS[kind]}
    if changes.pop("method", None) == "dpo":
        return write_preferences(place, tiny, **changes)
    job = write_job(place, stretching if kind == "stretching" else tiny, **changes)
    if kind == "stretching":
        write_rows(job / "train.jsonl", [chat(1), {"messages": chat(2)["messages"] * 3}, chat(3), chat(4), chat(5)])
    return job


@pytest.mark.parametrize("kind", KINDS)
def test_a_preflight_changes_no_bit_of_the_state_and_none_of_the_model(kind, tiny, stretching, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "prove", lambda *unused: None)
    bare = job_of(kind, tmp_path / "bare", tiny, stretching)
    run = preparation.prepare(bare, Lifeline(), lambda line: None)
    with torch.no_grad():
        next(weight for weight in run.engine.model.parameters() if weight.requires_grad).view(-1)[:32] = -0.0
    before = state(run)
    [told] = flown(run)
    assert state(run) == before
    assert 0 < told["needed_bytes"] < told["available_bytes"]
    assert not of_kind(train_here(bare), "preflight")
    monkeypatch.undo()
    job = job_of(kind, tmp_path / "job", tiny, stretching)
    assert of_kind(train_here(job), "preflight")
    assert hashes(job / "model") == hashes(bare / "model")


def test_a_run_that_goes_on_has_no_preflight_any_more(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, epochs=1, answers=0)
    train_here(job)
    lines: list[dict[str, Any]] = []
    assert preparation.prepare(job, Lifeline(), lines.append).step == 6
    assert not of_kind(lines, "preflight")


@pytest.mark.parametrize("pair", [False, True], ids=["rows", "pairs"])
@pytest.mark.parametrize("budget", [20, 150, 1000])
def test_no_pack_of_a_run_is_much_larger_than_the_one_that_is_tried(tiny, tmp_path, pair, budget):
    write, row = (write_preferences, preference) if pair else (write_job, chat)
    job = write(tmp_path / "job", tiny, valid=0, batch_size=5, answers=0)
    write_rows(job / "train.jsonl", [row(place) for place in range(60)])
    run = preparation.prepare(job, Lifeline(), lambda line: None)
    tried = preflight.heaviest(run.train, most=5, budget=budget, target_weight=0)
    chance = np.random.RandomState(3)
    drawn = [chance.choice(60, 5, replace=False) for _ in range(200)]
    largest = max(pack.ids.shape[1] for rows in drawn for pack in batches.packs(run.train, rows, budget=budget))
    assert largest * 0.85 <= tried.ids.shape[1] <= max(budget, run.train.lengths.max())


def test_long_rows_that_lost_their_answer_to_the_cut_are_not_what_is_tried(tiny, tmp_path):
    job = write_job(tmp_path / "job", tiny, valid=0, max_length=40, batch_size=2)
    cut = {"messages": [{"role": "user", "content": "green seven " * 40}, {"role": "assistant", "content": "late"}]}
    write_rows(job / "train.jsonl", [cut, chat(1), cut, chat(2)])
    run = preparation.prepare(job, Lifeline(), lambda line: None)
    assert preflight.heaviest(run.train, most=2, budget=500, target_weight=1).documents in ((1, 3), (3, 1))


def test_a_part_of_a_pack_has_its_share_of_tokens_and_targets_and_predicts_the_same(tiny, tmp_path):
    run = preparation.prepare(write_preferences(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None)
    [pack] = batches.packs(run.train, range(8), budget=10_000)
    half = preflight.shortened(pack, 0.5)
    assert half.documents == pack.documents
    assert sum(half.lengths) == half.ids.shape[1] == pytest.approx(pack.ids.shape[1] / 2, abs=8 * 2)
    assert len(half.targets) == sum(half.counts) == pytest.approx(len(pack.targets) / 2, abs=8 * 2)
    inner = [place for place in half.sources.tolist() if place + 1 not in np.cumsum(half.lengths)]
    following = {place: int(token) for place, token in zip(half.sources.tolist(), half.targets, strict=True)}
    assert inner
    assert all(following[place] == int(half.ids[0, place + 1]) for place in inner)
    whole = preflight.shortened(pack, 1.0)
    assert torch.equal(whole.ids, pack.ids)
    assert torch.equal(whole.sources, pack.sources)


def long_answer(place: int, words: int) -> dict[str, Any]:
    answer = " ".join(WORDS[(place * k) % len(WORDS)] for k in range(words))
    return {"messages": [{"role": "user", "content": "order"}, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model whose logits alone take 160 KB a token, so that long answers are dear."""
    return build_model(tmp_path_factory.mktemp("models") / "wide", vocab_size=40_000)


def wide_job(place: Path, wide: Path, **changes: Any) -> Path:
    job = write_job(place, wide, valid=0, max_length=2048, **changes)
    spec = json.loads((job / "spec.json").read_text())
    spec["model"]["context_length"] = 2048
    (job / "spec.json").write_text(json.dumps(spec))
    write_rows(job / "train.jsonl", [long_answer(number, 100 + 20 * number) for number in range(8)])
    return job


def lines_in_little_memory(job: Path) -> list[dict[str, Any]]:
    """The lines of a trainer that may take only so much more than it held in standby, up to its first step."""
    with Trainer("--standby") as trainer:
        assert trainer.process.stderr is not None
        assert any("standby ready" in line for line in trainer.process.stderr)
        status = Path(f"/proc/{trainer.process.pid}/status").read_text()
        limit = (int(re.findall(r"VmSize:\s+(\d+) kB", status)[0]) << 10) + ROOM
        resource.prlimit(trainer.process.pid, resource.RLIMIT_AS, (limit, limit))
        trainer.lease()
        trainer.tell(run=str(job))
        lines = []
        for line in trainer.lines():
            lines.append(line)
            if line["type"] == "metrics":
                break
    return lines


def test_a_job_that_cannot_fit_says_so_before_its_first_step_and_fits_once_its_advice_is_followed(wide, tmp_path):
    failed = lines_in_little_memory(wide_job(tmp_path / "job", wide, batch_size=8))[-1]
    assert (failed["type"], failed["code"]) == ("error", "out_of_memory")
    needed, available, missing = (float(found) for found in re.findall(r"([0-9.]+) GB", failed["message"])[:3])
    assert needed - available == pytest.approx(missing, abs=0.011)
    found = re.search(r"batch_size (\d+) instead of 8; max_length (\d+), where", failed["message"])
    assert found, failed["message"]
    heeded = lines_in_little_memory(wide_job(tmp_path / "heeded", wide, batch_size=int(found[1])))
    assert heeded[-1]["type"] == "metrics", heeded[-1]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sets what the kernel says of the machine's memory, in bytes; no cgroup is there."""
    kernel = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "_MACHINE", kernel)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "none")

    def say(**fields: int) -> None:
        kernel.write_text("".join(f"{name}: {size >> 10} kB\n" for name, size in fields.items()))

    return say


@pytest.mark.parametrize(("left", "code"), [(1 << 39, "out_of_memory"), (1 << 38, "memory_taken")])
def test_a_device_that_runs_out_all_the_same_says_by_whom(tiny, tmp_path, machine, left, code):
    run = preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None)
    machine(MemTotal=1 << 39, MemAvailable=left)

    def greedy(module: Any, inputs: Any, output: Any) -> None:
        if output.shape[1] > 40:
            torch.empty(1 << 46, dtype=torch.uint8)

    run.engine.model.get_input_embeddings().register_forward_hook(greedy)
    with pytest.raises(Failure, match=r"a step on its longest rows needs more memory than the .* GB that") as failed:
        flown(run)
    assert failed.value.code == code


@pytest.mark.parametrize(("total", "code"), [(1 << 39, "memory_taken"), (1 << 20, "out_of_memory")])
def test_what_others_may_give_back_decides_whether_a_job_fails(tiny, tmp_path, machine, total, code):
    run = preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None)
    machine(MemTotal=total, MemAvailable=2 << 10)
    with pytest.raises(Failure) as state:
        flown(run)
    base, settings = run.spec.base, run.spec.hyperparameters
    with pytest.raises(Failure) as weights:
        preflight.require_weights(base, settings, 10_000, run.engine.environment)
    flight = preflight.Flight(run.engine, settings, run.meter, lambda: None)
    trial = preflight._step(flight, run.train)
    with pytest.raises(Failure) as part:
        preflight._tried(flight, trial, trial.pack, Taken(tokens=trial.tokens, targets=1, bytes=1 << 20))
    assert [failed.value.code for failed in (state, weights, part)] == [code] * 3


def test_a_cgroup_bounds_what_can_ever_be_had(tmp_path, machine):
    machine(MemTotal=1 << 39, MemAvailable=1 << 38)
    (tmp_path / "none").mkdir()
    for name, text in {"max": 8 << 30, "current": 7 << 30, "stat": f"inactive_file {1 << 20}"}.items():
        (tmp_path / "none" / f"memory.{name}").write_text(str(text))
    [bound] = memory._of_cgroups("0::/")
    assert bound == ((1 << 30) + (1 << 20), 8 << 30)


def test_where_the_kernel_does_not_say_what_is_available_every_job_may_try(tiny, tmp_path, machine):
    machine(MemTotal=1 << 39)
    [told] = flown(preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None))
    assert told["available_bytes"] is None


def test_a_peak_that_cannot_be_forgotten_fails_no_job(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path)  # there, and not to be written
    [told] = flown(preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None))
    assert told["needed_bytes"] > 0


def test_what_malloc_keeps_back_counts_as_free_before_the_whole_pass(tiny, tmp_path):
    run = preparation.prepare(write_job(tmp_path / "job", tiny, valid=0), Lifeline(), lambda line: None)
    flight = preflight.Flight(run.engine, run.spec.hyperparameters, run.meter, lambda: None)
    trial = preflight._step(flight, run.train)
    memory.give_back()
    held = memory.held("cpu")
    kept_back = [bytes(1000) for _ in range(200_000)]
    last = bytes(1000)  # above them all, so that malloc keeps what is below
    del kept_back
    assert memory.held("cpu") > held + (150 << 20)
    with pytest.raises(Failure) as failed:
        preflight._tried(flight, trial, trial.pack, Taken(tokens=1, targets=1, bytes=1 << 50))
    [told] = re.findall(r" ([0-9.]+) GB are held before it", failed.value.message)
    assert float(told) == pytest.approx((held + len(last)) / 1e9, abs=0.05)


def test_a_model_that_cannot_be_held_is_refused_before_it_is_loaded(tiny, tmp_path):
    base = build_model(tmp_path / "giant")
    (base / "model.safetensors").unlink()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": 10**8, "hidden_size": 2**14}))
    with pytest.raises(Failure, match=r"tiny has 1,638,.* parameters: its weights, their gradients") as failed:
        train_here(write_job(tmp_path / "job", base, training_type="full"))
    assert failed.value.code == "out_of_memory"
    assert 'What helps: training_type "lora"' in failed.value.message
