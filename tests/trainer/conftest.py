"""Tiny random models and tokenizers, built offline; job directories around them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded; spinning threads starve each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FLIGHT = 4  # looks at the lifeline in a preflight: a part of a step twice, a step, an evaluation
WORDS = [
    "order",
    "refund",
    "parcel",
    "late",
    "card",
    "charge",
    "login",
    "password",
    "plan",
    "seat",
    "colour",
    "size",
    "broken",
    "lost",
    "green",
    "seven",
]


def build_tokenizer(directory: Path, *, template: str | None = TEMPLATE, vocabulary: int = 400) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    raw.train_from_iterator([" ".join(WORDS) + " system user assistant"] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(directory)
    return tokenizer


def build_model(directory: Path, **changes: Any) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    tokenizer = build_tokenizer(directory)
    config = LlamaConfig(**{
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "tie_word_embeddings": True, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None, **changes,
    })  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def chat(place: int, **extra: Any) -> dict[str, Any]:
    asked = " ".join(WORDS[(place * k) % len(WORDS)] for k in range(2, 4 + place % 7))
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": WORDS[place % 3], **extra}]
    }


def preference(place: int) -> dict[str, Any]:
    """The row of `chat`, with another answer that is not preferred."""
    *asked, answer = chat(place)["messages"]
    worse = {"role": "assistant", "content": f"{WORDS[3 + place % 5]} {WORDS[place % 11]}"}
    return {"input": {"messages": asked}, "preferred_output": [answer], "non_preferred_output": [worse]}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_job(directory: Path, base: Path, *, rows: int = 24, valid: int = 6, **changes: Any) -> Path:
    """A job directory; `changes` are hyperparameters, or top-level keys of the spec where they are one."""
    directory.mkdir(parents=True, exist_ok=True)
    write_rows(directory / "train.jsonl", [chat(place) for place in range(rows)])
    if valid:
        write_rows(directory / "valid.jsonl", [chat(place) for place in range(100, 100 + valid)])
    hyperparameters = {
        "epochs": 2, "batch_size": 4, "learning_rate": 0.01, "training_type": "lora", "lora_rank": 4, "lora_alpha": 8,
        "lora_dropout": 0.0, "lora_targets": ["all-linear"], "scheduler": "cosine", "warmup_steps": 2,
        "weight_decay": 0.0, "max_grad_norm": 1.0, "max_length": 128, "eval_steps": 0,
        "early_stopping_patience": 0, "early_stopping_delta": 0.0, "keep_best": False, "eval_carveout": 0.0,
    }  # fmt: skip
    spec: dict[str, Any] = {
        "job_id": "ftjob-test",
        "model": {"name": "tiny", "source": str(base), "revision": None, "context_length": 256},
        "tuned_model": "ft:tiny:default::abc", "method": "supervised", "hyperparameters": hyperparameters, "seed": 7,
        "checkpoint_seconds": 1000, "answers": 4, "environment": {"threads": 1},
    }  # fmt: skip
    for name, value in changes.items():
        (hyperparameters if name in hyperparameters else spec)[name] = value
    (directory / "spec.json").write_text(json.dumps(spec), "utf-8")
    return directory


def write_preferences(
    directory: Path, base: Path, *, rows: int = 24, valid: int = 6, beta: float = 0.1, **changes: Any
) -> Path:
    """The job of `write_job` with preference rows, for method dpo."""
    write_job(directory, base, rows=0, valid=0, method="dpo", **changes)
    write_rows(directory / "train.jsonl", [preference(place) for place in range(rows)])
    if valid:
        write_rows(directory / "valid.jsonl", [preference(place) for place in range(100, 100 + valid)])
    spec = json.loads((directory / "spec.json").read_text("utf-8"))
    spec["hyperparameters"]["beta"] = beta
    (directory / "spec.json").write_text(json.dumps(spec), "utf-8")
    return directory


def train_here(directory: Path, *, lifeline: Any = None) -> list[dict[str, Any]]:
    """Run the job in this process and return its lines. Raises what the run raises."""
    from workers.trainer import run
    from workers.trainer.lifeline import Lifeline

    lines: list[dict[str, Any]] = []
    run.main(directory, lifeline or Lifeline(), lines.append)
    return lines


def of_kind(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["type"] == kind]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """peft still asks transformers by an old name; that warning is not ours to mend."""
    for item in items:
        if "trainer" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "tiny")
