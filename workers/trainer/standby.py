"""Standby: a rehearsal, so that everything a run imports, compiles or sets up lazily is done before its job is known.

No accelerator is touched: the rehearsal's environment says cpu.
"""

import gc
import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workers.trainer import run
from workers.trainer.lifeline import Lifeline

_WORDS = ("<end>", "<pad>", "question", "answer")
_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content + ' <end>' }}{% endgeneration %}"
    "{% else %}{{ m.content + ' ' }}{% endif %}{% endfor %}"
)


def rehearse() -> None:
    """Run a job of two short rows on a model of a few thousand weights, from spec to export."""
    with tempfile.TemporaryDirectory(prefix="tuneyard-rehearsal-") as place:
        directory = Path(place)
        _write_model(directory / "base")
        _write_job(directory)
        run.main(directory, Lifeline(), lambda line: None)
    gc.collect()
    gc.freeze()  # the libraries' objects stay: no later collection has to look through them


def _write_model(directory: Path) -> None:
    raw = Tokenizer(models.WordLevel({word: place for place, word in enumerate(_WORDS)}, unk_token=_WORDS[1]))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=_WORDS[0], pad_token=_WORDS[1])
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(_WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, bos_token_id=None, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)


def _write_job(directory: Path) -> None:
    row = {"messages": [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]}
    for name in ("train.jsonl", "valid.jsonl"):
        (directory / name).write_text((json.dumps(row) + "\n") * 2, "utf-8")
    spec = {
        "job_id": "rehearsal", "tuned_model": "rehearsal", "method": "supervised", "seed": 0, "answers": 1,
        "model": {"name": "rehearsal", "source": str(directory / "base"), "revision": None, "context_length": 64},
        "hyperparameters": {"epochs": 1, "batch_size": 2, "learning_rate": 1e-3, "max_length": 64},
        "checkpoint_seconds": 600, "environment": {"device": "cpu", "dtype": "float32"},
    }  # fmt: skip
    (directory / "spec.json").write_text(json.dumps(spec), "utf-8")
