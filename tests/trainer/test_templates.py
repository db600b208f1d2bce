"""Assistant turns are found in templates without marks, as people who marked the same templates by hand see them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trl

from tests.trainer.conftest import TEMPLATE, build_tokenizer
from workers.trainer import templates
from workers.trainer.failures import Failure
from workers.trainer.spec import Base

FAMILIES = Path(trl.__file__).parent / "chat_templates"
CHATS = {
    "one turn": [{"role": "user", "content": "Two plus two?"}, {"role": "assistant", "content": "Four."}],
    "two turns": [
        {"role": "user", "content": "A b?"},
        {"role": "assistant", "content": "C d."},
        {"role": "user", "content": "E\n f"},
        {"role": "assistant", "content": "G.\nH"},
    ],
}
SPECIAL = ["<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>", "<|END_OF_TURN_TOKEN|>", "<s>"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    built = build_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    built.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": SPECIAL})
    return built


def loaded(tokenizer, place, source):
    tokenizer.chat_template = source
    tokenizer.save_pretrained(place)
    return templates.load(Base("tiny", str(place)))


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_instruct_2507", "llama3", "gemma", "gemma3", "lfm2", "cohere"])
def test_turns_found_without_marks_are_those_a_hand_marked_template_names(tokenizer, tmp_path, family, chat):
    found = loaded(tokenizer, tmp_path / "own", (FAMILIES / f"{family}.jinja").read_text("utf-8"))
    marked = loaded(tokenizer, tmp_path / "marked", (FAMILIES / f"{family}_training.jinja").read_text("utf-8"))
    assert (found.marked, marked.marked) == (False, True)
    text, spans = found.render(CHATS[chat], None)
    expected_text, expected = marked.render(CHATS[chat], None)
    assert text == expected_text
    assert [text[a:b].rstrip() for a, b in spans] == [text[a:b].rstrip() for a, b in expected]
    assert all(text[a:b].endswith(found.end) and found.end for a, b in spans)


@pytest.mark.parametrize(
    ("family", "end"),
    [("qwen2_5", "<|im_end|>"), ("qwen3", "<|im_end|>"), ("phi3", "<|end|>"), ("llama3_1", "<|eot_id|>"),
     ("llama3_2", "<|eot_id|>")],
)  # fmt: skip
def test_known_families_end_their_turns_with_their_own_token(tokenizer, tmp_path, family, end):
    template = loaded(tokenizer, tmp_path, (FAMILIES / f"{family}.jinja").read_text("utf-8"))
    assert template.end == end


def test_a_mark_that_leaves_out_the_end_of_turn_is_widened_to_it(tokenizer, tmp_path):
    narrow = TEMPLATE.replace(
        "{{ message.content + '<|im_end|>' }}{% endgeneration %}", "{{ message.content }}{% endgeneration %}<|im_end|>"
    )
    template = loaded(tokenizer, tmp_path, narrow)
    text, [span] = template.render(CHATS["one turn"], None)
    assert text[slice(*span)] == "Four.<|im_end|>"


@pytest.mark.parametrize("source", ["always the same", "{{ raise_exception('no') }}", "{% for m in messages %}"])
def test_a_template_whose_turns_cannot_be_told_apart_is_refused_with_what_to_do(tokenizer, tmp_path, source):
    with pytest.raises(Failure, match="endgeneration") as refused:
        loaded(tokenizer, tmp_path, source)
    assert refused.value.code == "chat_template_unsupported"


def test_a_template_that_asks_for_the_date_is_told_the_day_it_was_given(tokenizer, tmp_path):
    loaded(tokenizer, tmp_path, "{{ strftime_now('%d %b %Y') }}\n" + TEMPLATE)
    template = templates.load(Base("tiny", str(tmp_path)), now=datetime(2002, 1, 31, 23, 59, tzinfo=UTC))
    assert template.prompt(CHATS["one turn"][:1], None).startswith("31 Jan 2002\n")


def test_a_model_without_a_chat_template_takes_completions_and_refuses_chats(tmp_path):
    build_tokenizer(tmp_path, template=None)
    template = templates.load(Base("tiny", str(tmp_path)))
    with pytest.raises(Failure, match="no chat template"):
        template.render(CHATS["one turn"], None)


def test_a_directory_without_a_tokenizer_is_a_model_that_does_not_load(tmp_path):
    with pytest.raises(Failure) as failed:
        templates.load(Base("tiny", str(tmp_path)))
    assert failed.value.code == "model_load_failed"
