"""Is the shipped base a small, safe, ordinary model directory?"""

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def model(demo: Path) -> Path:
    return demo / "model"


def test_the_weights_are_safetensors_alone_and_under_four_megabytes(model: Path) -> None:
    weights = [path for path in model.iterdir() if path.suffix not in {".json", ".jinja"}]

    assert [path.name for path in weights] == ["model.safetensors"]
    assert weights[0].stat().st_size < 4_000_000


def test_the_model_is_a_llama_that_needs_no_code_of_its_own(model: Path) -> None:
    config = json.loads((model / "config.json").read_text("utf-8"))

    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert "auto_map" not in config
    assert not list(model.glob("*.py"))


def test_the_template_marks_the_answer_and_its_end_of_turn(model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    chat = [{"role": "user", "content": "Where is my parcel?"}, {"role": "assistant", "content": "On its way."}]
    rendered = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)

    trained = [token for token, mask in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(trained) == "On its way.<|im_end|>"
    assert trained[-1] == tokenizer.eos_token_id


def test_a_prompt_is_the_beginning_of_the_trained_text(model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": "Hi"}], tokenize=False)

    assert whole.startswith(prompt)
    assert "<|im_start|>system\nBe kind.<|im_end|>\n" in prompt


def test_any_text_survives_the_tokenizer(model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    text = 'Ünïcode, emoji 🙂, tabs\tand\n\nlines: {"team": 1} 漢字'

    assert tokenizer.decode(tokenizer.encode(text)) == text
