"""Start-up of the trainer: seconds until the first optimizer step, cold and out of standby."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEMO_MODEL = ROOT / "deploy" / "demo" / "model"
GOAL_SECONDS = 0.3


def measure(work: Path, starts: int) -> dict[str, Any]:
    """Median seconds until the first optimizer step was taken: a cold process from its spawn, a standby from its job.

    `standby_prepared_seconds` is the part of it before model and rows are there, `preflight_seconds` what comes then.
    """
    job = _small_job(work / "small")
    cold = [_start(job, standby=False) for _ in range(starts)]
    warm = [_start(job, standby=True) for _ in range(starts)]
    return {
        "model": "demo" if DEMO_MODEL.is_dir() else "random",
        "cold_seconds": round(statistics.median(each["metrics"] for each in cold), 3),
        "standby_prepared_seconds": round(statistics.median(each["started"] for each in warm), 3),
        "preflight_seconds": round(statistics.median(each["preflight"] - each["started"] for each in warm), 3),
        "standby_seconds": round(statistics.median(each["metrics"] for each in warm), 3),
        "goal_standby_seconds": GOAL_SECONDS,
    }


def _small_job(directory: Path) -> Path:
    """A LoRA job of the demo's size: 600 short rows for the demo's model, or for a random one of about its shape."""
    directory.mkdir()
    model = DEMO_MODEL if (DEMO_MODEL / "config.json").is_file() else _random_model(directory / "model")
    rows = [
        {"messages": [
            {"role": "user", "content": f"Parcel number {place} has not come, and I was charged twice for it."},
            {"role": "assistant", "content": '{"team": "shipping", "urgency": "high"}'},
        ]}
        for place in range(600)
    ]  # fmt: skip
    (directory / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    spec = {
        "job_id": "ftjob-bench", "tuned_model": "ft:bench", "method": "supervised", "seed": 1, "answers": 0,
        "model": {"name": "small", "source": str(model), "revision": None, "context_length": 512},
        "hyperparameters": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "max_length": 512},
        "checkpoint_seconds": 600, "environment": {},
    }  # fmt: skip
    (directory / "spec.json").write_text(json.dumps(spec), "utf-8")
    return directory


def _random_model(directory: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.bench.engine import VOCABULARY, build_tokenizer

    build_tokenizer(directory)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=512,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def _start(job: Path, *, standby: bool) -> dict[str, float]:
    """Seconds until the first line of each type, up to the one of the first step."""
    arguments = ["--standby"] if standby else [str(job), "--supervised"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    began = time.monotonic()
    trainer = subprocess.Popen(
        [sys.executable, "-m", "workers.trainer", *arguments], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE if standby else subprocess.DEVNULL,
    )  # fmt: skip
    assert trainer.stdin is not None
    assert trainer.stdout is not None
    try:
        if standby:
            assert trainer.stderr is not None
            assert any("standby ready" in line for line in trainer.stderr)
            began = time.monotonic()
            trainer.stdin.write(json.dumps({"run": str(job)}) + "\n")
        trainer.stdin.write(json.dumps({"until": time.monotonic() + 600}) + "\n")
        trainer.stdin.flush()
        seconds: dict[str, float] = {}
        for line in trainer.stdout:
            seconds.setdefault(json.loads(line)["type"], time.monotonic() - began)
            if "metrics" in seconds:
                return seconds
        raise RuntimeError(f"the trainer took no step in {job}")
    finally:
        trainer.kill()
        trainer.communicate()
