"""Rows become the right tokens, and only the assistant's are trained on."""

import json

import pytest

from tests.trainer.conftest import TEMPLATE, build_tokenizer, write_rows
from workers.trainer import rows, templates
from workers.trainer.failures import Failure
from workers.trainer.spec import Base

CHAT = [
    {"role": "user", "content": "order late"},
    {"role": "assistant", "content": "refund"},
    {"role": "user", "content": "card"},
    {"role": "assistant", "content": "charge"},
]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    place = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(place)
    return templates.load(Base("tiny", str(place)))


def encode(template, tmp_path, *raw, method="supervised", max_length=200):
    write_rows(tmp_path / "train.jsonl", list(raw))
    return list(rows.encode_file(tmp_path / "train.jsonl", template, method=method, max_length=max_length))


def trained_text(template, row):
    return template.tokenizer.decode([token for token, on in zip(row.ids, row.trained, strict=True) if on])


def test_the_assistants_words_and_their_end_of_turn_are_trained_on_and_nothing_else(template, tmp_path):
    [row] = encode(template, tmp_path, {"messages": CHAT})
    assert trained_text(template, row) == "refund<|im_end|>charge<|im_end|>"


def test_a_message_of_weight_zero_is_read_but_not_trained_on(template, tmp_path):
    messages = [CHAT[0], {**CHAT[1], "weight": 0}, CHAT[2], {**CHAT[3], "weight": 1}]
    [row] = encode(template, tmp_path, {"messages": messages})
    assert trained_text(template, row) == "charge<|im_end|>"
    assert "refund" in template.tokenizer.decode(row.ids)


def test_a_row_longer_than_allowed_is_cut_at_its_end_and_says_so(template, tmp_path):
    short, long = encode(template, tmp_path, {"messages": CHAT[:2]}, {"messages": CHAT * 9}, max_length=40)
    assert (short.cut, long.cut) == (False, True)
    assert len(long.ids) == 40
    assert long.length > 40


def test_text_parts_are_joined_and_mean_the_same_as_a_string(template, tmp_path):
    parts = [{"type": "text", "text": "order "}, {"type": "text", "text": "late"}]
    one, other = encode(
        template, tmp_path, {"messages": CHAT}, {"messages": [{"role": "user", "content": parts}, *CHAT[1:]]}
    )
    assert one.ids == other.ids


def test_a_developer_message_is_a_system_message_where_the_template_knows_no_developer(template, tmp_path):
    system, developer = encode(
        template,
        tmp_path,
        *({"messages": [{"role": role, "content": "plan"}, *CHAT]} for role in ("system", "developer")),
    )
    assert system.ids == developer.ids


def test_a_completion_row_trains_on_the_completion_and_the_end_of_text(template, tmp_path):
    [row] = encode(template, tmp_path, {"prompt": "order late: ", "completion": "refund"})
    assert trained_text(template, row) == "refund<|im_end|>"


@pytest.mark.parametrize(
    ("row", "code", "path"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, CHAT[1]]},
         "image_not_supported", "$.messages[0].content[0]"),
        ({"messages": CHAT, "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools_ignored", "$.tools"),
        ({"messages": CHAT, "functions": [{"name": "f"}]}, "tools_ignored", "$.tools"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": "x", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]},
         "tool_calls_ignored", "$.messages"),
        ({"text": "?"}, "row_shape", "$"),
        ({"messages": [17, *CHAT]}, "message_shape", "$.messages[0]"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_a_finding(template, tmp_path, row, code, path):
    [encoded] = encode(template, tmp_path, row)
    assert [(finding.code, finding.path) for finding in encoded.findings] == [(code, path)]


def test_a_row_with_a_finding_ends_a_training_run_with_its_line(template, tmp_path):
    _, bad = encode(template, tmp_path, {"messages": CHAT}, {"messages": "?"})
    with pytest.raises(Failure, match=r"train\.jsonl line 2"):
        rows.require_trainable(bad, file="train.jsonl")


TOOLS_TEMPLATE = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE.replace(
    "{{ message.content + '<|im_end|>' }}{% endgeneration %}",
    "{{ message.content }}{% for call in message.tool_calls or [] %}{{ call.function.name }}"
    "{{ call.function.arguments.city }}{% endfor %}{{ '<|im_end|>' }}{% endgeneration %}",
)


def test_tools_and_calls_reach_a_template_that_knows_them_in_new_and_old_spelling(tmp_path):
    build_tokenizer(tmp_path / "tokenizer", template=TOOLS_TEMPLATE)
    template = templates.load(Base("tiny", str(tmp_path / "tokenizer")))
    function = {"name": "weather", "arguments": json.dumps({"city": "Oslo"})}
    new = {"tools": [{"type": "function", "function": {"name": "weather"}}], "messages": [
        CHAT[0], {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c", "content": "cold"}, CHAT[3]]}  # fmt: skip
    old = {"functions": [{"name": "weather"}], "messages": [
        CHAT[0], {"role": "assistant", "content": None, "function_call": function},
        {"role": "function", "name": "weather", "content": "cold"}, CHAT[3]]}  # fmt: skip
    one, other = encode(template, tmp_path, new, old)
    assert (one.findings, other.findings) == ((), ())
    assert one.ids == other.ids
    assert trained_text(template, one) == "weatherOslo<|im_end|>charge<|im_end|>"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "not_unicode"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "not_unicode"),
        (b"[" * 100_000, "not_json"),
        (b"{", "not_json"),
        (b"3", "row_shape"),
    ],
)
def test_bytes_that_are_no_row_are_a_finding_and_the_next_row_is_read(template, tmp_path, line, code):
    (tmp_path / "train.jsonl").write_bytes(line + b"\n" + json.dumps({"messages": CHAT}).encode())
    broken, whole = rows.encode_file(tmp_path / "train.jsonl", template, method="supervised", max_length=200)
    assert [finding.code for finding in broken.findings] == [code]
    assert whole.ids


def test_lines_are_counted_from_one_with_blank_lines_and_a_byte_order_mark(template, tmp_path):
    row = json.dumps({"messages": CHAT})
    (tmp_path / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{row}\r\n\r\n{row}\n".encode())
    encoded = list(rows.encode_file(tmp_path / "train.jsonl", template, method="supervised", max_length=200))
    assert [row.line for row in encoded] == [1, 3]
    assert not any(row.findings for row in encoded)


def pair(preferred, other, **extra):
    return {"input": {"messages": CHAT[:3]}, "preferred_output": preferred, "non_preferred_output": other, **extra}


def test_a_pair_is_two_documents_and_only_their_last_turns_are_trained_on(template, tmp_path):
    worse = [{"role": "assistant", "content": "lost"}, {"role": "tool", "tool_call_id": "c", "content": "seven"}]
    documents = encode(
        template, tmp_path, pair([CHAT[3]], [*worse, {"role": "assistant", "content": "green"}]), method="dpo"
    )
    assert [trained_text(template, document) for document in documents] == ["charge<|im_end|>", "green<|im_end|>"]
    assert [document.line for document in documents] == [1, 1]
    assert "refund" in template.tokenizer.decode(documents[0].ids)
    assert "lost" in template.tokenizer.decode(documents[1].ids)


def test_the_older_spelling_of_a_pair_reads_the_same(template, tmp_path):
    answers = {"preferred_completion": [CHAT[3]], "non_preferred_completion": [CHAT[1]]}
    new, old = pair([CHAT[3]], [CHAT[1]]), {"input": {"messages": CHAT[:3]}, **answers}
    one, two, three, four = encode(template, tmp_path, new, old, method="dpo")
    assert (one.ids, two.ids) == (three.ids, four.ids)
    assert one.ids != two.ids


@pytest.mark.parametrize(
    ("row", "code", "path"),
    [
        ({"messages": CHAT}, "row_shape", "$"),
        (pair([CHAT[3]], "no"), "answer_missing", "$.non_preferred_output"),
        (pair([CHAT[2]], [CHAT[3]]), "answer_missing", "$.preferred_output"),
        (pair([CHAT[3]], [CHAT[3]]), "equal_outputs", "$"),
        (pair([7], [CHAT[3]]), "message_shape", "$.preferred_output[0]"),
        (pair([CHAT[3]], [CHAT[1]], input={"messages": CHAT[:1], "tools": [{"type": "function"}]}), "tools_ignored",
         "$.input.tools"),
    ],
)  # fmt: skip
def test_a_pair_that_cannot_be_trained_on_is_named_once(template, tmp_path, row, code, path):
    [encoded] = encode(template, tmp_path, row, method="dpo")
    assert (encoded.findings[0].code, encoded.findings[0].path) == (code, path)
