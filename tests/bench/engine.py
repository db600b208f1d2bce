"""The step engine against TRL, and the trainer's start-up: `python -m tests.bench.engine`.

Same model, rows, order, batches and optimizer; children run one after the other, in turns. TRL runs its SFTTrainer
with the model's own loss in place of its fused head, which is slow on a CPU. Real tokens count, padding does not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench import start_up

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = 32_000
LEARNING_RATE = 3e-4
ENGINE_GOAL = 2.0
LOSS_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Setting:
    """One comparison: which weights, how many threads, which precision."""

    training_type: str
    threads: int
    dtype: str

    @property
    def name(self) -> str:
        return f"{self.training_type}, {self.threads} thread{'s'[: self.threads > 1]}, {self.dtype}"


SETTINGS = (Setting("full", 1, "float32"), Setting("full", 2, "bfloat16"), Setting("lora", 1, "float32"))


@dataclass(frozen=True)
class Profile:
    steps: int
    batch_size: int
    rounds: int
    starts: int


PROFILES = {"short": Profile(5, 8, 1, 1), "full": Profile(12, 8, 1, 3)}


def run(profile: str = "short") -> dict[str, Any]:
    """Measure and return every figure: engines by setting, start-up in seconds."""
    chosen = PROFILES[profile]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        build_job(work / "job", chosen)
        engines = {setting.name: compare(work / "job", setting, chosen) for setting in SETTINGS}
        return {"profile": profile, "engines": engines, "start_up": start_up.measure(work, chosen.starts)}


def compare(job: Path, setting: Setting, profile: Profile) -> dict[str, Any]:
    """Tokens per CPU second of both engines, median of the rounds, and how far their losses are apart."""
    rounds: dict[str, list[dict[str, Any]]] = {"trl": [], "tuneyard": []}
    for _ in range(profile.rounds):
        for engine in rounds:
            rounds[engine].append(_child(engine, job, setting, profile))
    speed = {name: statistics.median(r["tokens_per_cpu_second"] for r in runs) for name, runs in rounds.items()}
    pairs = zip(rounds["trl"][0]["losses"], rounds["tuneyard"][0]["losses"], strict=True)
    return {
        "trl_tokens_per_cpu_second": round(speed["trl"], 1),
        "tuneyard_tokens_per_cpu_second": round(speed["tuneyard"], 1),
        "ratio": round(speed["tuneyard"] / speed["trl"], 2),
        "losses": profile.steps,
        "largest_loss_difference": max(abs(a - b) for a, b in pairs),
    }


def _child(engine: str, job: Path, setting: Setting, profile: Profile) -> dict[str, Any]:
    asked = json.dumps({"setting": asdict(setting), "profile": asdict(profile)})
    environment = {
        **os.environ, "OMP_NUM_THREADS": str(setting.threads), "GOMP_SPINCOUNT": "2000", "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.bench.engine", "--child", engine, "--job", str(job), "--asked", asked]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"the {engine} child failed: {ended.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return measured


def build_job(directory: Path, profile: Profile) -> None:
    """A random 27M-parameter Llama, a tokenizer of 32,000 made-up words, chat rows of 30 to 385 tokens, and a spec."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    directory.mkdir(parents=True)
    build_tokenizer(directory / "model")
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1056, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=6, tie_word_embeddings=True, max_position_embeddings=512, bos_token_id=None,
        eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory / "model")
    chance = np.random.RandomState(5)
    rows = [_chat(chance) for _ in range(profile.steps * profile.batch_size)]
    (directory / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def build_tokenizer(directory: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<unk>", "user", "assistant"]
    words = {word: place for place, word in enumerate(special + [f"w{n}" for n in range(VOCABULARY - len(special))])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|> ' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + ' <|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + ' <|im_end|>' }}"
        "{% endif %}{{ '\\n' }}{% endfor %}"
    )
    tokenizer.save_pretrained(directory)


def _chat(chance: Any) -> dict[str, Any]:
    """One to three exchanges, 30 to 385 tokens in all, about half of them the assistant's."""
    turns = 2 * int(chance.randint(1, 4))
    total = int(chance.randint(30, 386)) - 3 * turns
    parts = [max(1, total // turns)] * (turns - 1)
    parts.append(max(1, total - sum(parts)))
    roles = ("user", "assistant")
    messages = [
        {"role": roles[place % 2], "content": " ".join(f"w{n}" for n in chance.randint(0, 30_000, size))}
        for place, size in enumerate(parts)
    ]
    return {"messages": messages}


def _setting_up(job: Path, setting: Setting) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Template, rows, model and environment, the same for both engines."""
    import torch

    from workers.trainer import model as models
    from workers.trainer import rows, templates
    from workers.trainer.spec import Base, Hyperparameters

    environment = {
        "device": "cpu", "dtype": setting.dtype, "threads": setting.threads, "packing": True, "pack_tokens": 2048,
    }  # fmt: skip
    torch.set_num_threads(setting.threads)
    torch.manual_seed(3)
    base = Base("bench", str(job / "model"))
    template = templates.load(base)
    encoded = list(rows.encode_file(job / "train.jsonl", template, method="supervised", max_length=512))
    settings = Hyperparameters(1, 8, LEARNING_RATE, training_type=setting.training_type, scheduler="constant")
    return template, encoded, models.load(base, settings, environment=environment, weights=None), environment


def child_tuneyard(job: Path, setting: Setting, profile: Profile) -> dict[str, Any]:
    from workers.trainer import batches, engine
    from workers.trainer import environment as environments
    from workers.trainer import model as models
    from workers.trainer.methods import Supervised

    _, encoded, model, environment = _setting_up(job, setting)
    environments.apply(environment, seed=3)
    assert models.supports_documents(model)
    rows = batches.gather(encoded)
    optimizer = engine.optimizer(models.trainable(model), weight_decay=0.0)
    stepper = engine.Engine(model, optimizer, environment, 1.0, Supervised())
    watch = Stopwatch(encoded, profile.batch_size)
    losses = []
    for step in range(profile.steps):
        chosen = range(step * profile.batch_size, (step + 1) * profile.batch_size)
        packs = list(batches.packs(rows, chosen, budget=environment["pack_tokens"]))
        losses.append(stepper.update(packs, learning_rate=LEARNING_RATE)[0].mean_loss)
        watch.step_ended()
    return {"losses": losses, **watch.result()}


def child_trl(job: Path, setting: Setting, profile: Profile) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import Trainer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    template, encoded, model, _ = _setting_up(job, setting)
    columns = {
        "input_ids": [row.ids for row in encoded],
        "labels": [[token if on else -100 for token, on in zip(row.ids, row.trained, strict=True)] for row in encoded],
    }
    losses: list[float] = []
    watch = Stopwatch(encoded, profile.batch_size)

    class NativeLoss(SFTTrainer):
        """TRL's trainer with the loss that the model computes itself."""

        def compute_loss(self, *arguments: Any, **named: Any) -> Any:
            loss = Trainer.compute_loss(self, *arguments, **named)
            losses.append(float(loss.detach()))
            return loss

        def _get_train_sampler(self, *arguments: Any, **named: Any) -> Any:
            from torch.utils.data import SequentialSampler

            return SequentialSampler(self.train_dataset)

    class Watch(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            watch.step_ended()

    arguments = SFTConfig(
        output_dir=str(job / "trl"), per_device_train_batch_size=profile.batch_size, max_steps=profile.steps,
        learning_rate=LEARNING_RATE, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0,
        optim="adamw_torch_fused", bf16=setting.dtype == "bfloat16", fp16=False, use_cpu=True,
        gradient_checkpointing=False, packing=False, padding_free=False, max_length=None, save_strategy="no",
        report_to="none", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, seed=3,
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    trainer = NativeLoss(
        model=model, args=arguments, train_dataset=Dataset.from_dict(columns), processing_class=template.tokenizer,
        callbacks=[Watch()],
    )  # fmt: skip
    trainer.train()
    return {"losses": losses, **watch.result()}


class Stopwatch:
    """CPU seconds of all steps after the first, which pays for what is set up once; `rows` are in training order."""

    def __init__(self, rows: list[Any], batch_size: int) -> None:
        self._lengths = [len(row.ids) for row in rows]
        self._batch_size = batch_size
        self._marks: list[float] = []

    def step_ended(self) -> None:
        self._marks.append(time.process_time())

    def result(self) -> dict[str, float]:
        tokens = sum(self._lengths[self._batch_size : self._batch_size * len(self._marks)])
        seconds = self._marks[-1] - self._marks[0]
        return {"tokens": tokens, "cpu_seconds": seconds, "tokens_per_cpu_second": tokens / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="short")
    parser.add_argument("--child", choices=["tuneyard", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--asked", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is None:
        print(json.dumps(run(chosen.profile), indent=1))
        return
    measure = {"tuneyard": child_tuneyard, "trl": child_trl}[chosen.child]
    print(json.dumps(measure(chosen.job, Setting(**chosen.asked["setting"]), Profile(**chosen.asked["profile"]))))


if __name__ == "__main__":
    main()
