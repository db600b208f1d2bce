"""What method supervised takes as a row, and what it says of the rest."""

import io
import json
from typing import Any

import pytest

from app.core import dataset

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TEXT_PART = {"type": "text", "text": "Hi"}


def check(*rows: object) -> dataset.Report:
    return dataset.check(io.BytesIO(b"\n".join(json.dumps(row).encode() for row in rows)))


def chat(*messages: object, **extra: object) -> dict[str, Any]:
    return {"messages": list(messages), **extra}


def found(row: object) -> list[tuple[str, str]]:
    """Path and code of each finding on a row."""
    return [(finding.path, finding.code) for finding in check(row).findings]


def warned(row: object) -> list[str]:
    report = check(row)
    assert report.findings == ()
    return [warning.code for warning in report.warnings]


@pytest.mark.parametrize(
    "row",
    [
        chat(USER, ANSWER),
        chat(ANSWER),
        chat({"role": "system", "content": "Be kind."}, USER, ANSWER),
        chat({"role": "developer", "content": "Be kind."}, USER, ANSWER),
        chat({**USER, "name": "ann"}, {**ANSWER, "name": "bot"}),
        chat(USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}),
        chat(USER, {**ANSWER, "weight": 0}, USER, ANSWER),
        chat({**USER, "content": [TEXT_PART, TEXT_PART]}, {**ANSWER, "content": [TEXT_PART]}),
        chat(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}),
        chat(USER, {"role": "assistant", "refusal": "No."}),
        chat(USER, {"role": "assistant", "content": None, "refusal": "No."}),
        chat(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        chat(USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}),
        chat(USER, {"role": "assistant", "tool_calls": [CALL, CALL]}),
        chat(
            USER,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "1", "content": ""},
            ANSWER,
        ),
        chat(USER, {"role": "assistant", "function_call": CALL["function"]}),
        chat(USER, {"role": "function", "name": "look", "content": None}, ANSWER),
        chat({**USER, "weight": None, "tool_calls": None}, {**ANSWER, "refusal": None, "audio": None, "name": None}),
        chat(USER, ANSWER, tools=None, functions=None, parallel_tool_calls=None),
        chat(USER, ANSWER, tools=[], parallel_tool_calls=False),
        {"prompt": "Hi", "completion": " Hello"},
    ],
)
def test_a_row_is_accepted_without_a_word(row):
    assert warned(row) == []


@pytest.mark.parametrize("row", [{}, {"input": {}, "preferred_output": []}, {"message": [USER, ANSWER]}])
def test_a_row_without_messages_is_a_finding(row):
    assert found(row) == [("$", "missing_messages_list")]


def test_the_keys_of_a_row_without_messages_are_shown():
    assert check({"conversations": []}).findings[0].found == 'an object with "conversations"'


@pytest.mark.parametrize("messages", [None, [], {}, "Hi", 1])
def test_messages_that_are_no_list_or_an_empty_one_are_a_finding(messages):
    assert found({"messages": messages}) == [("$.messages", "missing_messages_list")]


@pytest.mark.parametrize("message", ["Hi", None, 1, [], True])
def test_a_message_that_is_no_object_is_a_finding(message):
    assert found(chat(message, ANSWER)) == [("$.messages[0]", "data_type")]


@pytest.mark.parametrize("role", ["bot", "", "User", "human", None, 1, [], {}])
def test_another_role_is_a_finding(role):
    assert found(chat({"role": role, "content": "Hi"}, ANSWER)) == [("$.messages[0].role", "unrecognized_role")]


def test_a_message_without_a_role_is_a_finding():
    assert found(chat({"content": "Hi"}, ANSWER)) == [("$.messages[0].role", "message_missing_key")]


def test_the_role_and_what_it_may_be_are_said():
    finding = check(chat({"role": "bot", "content": "Hi"}, ANSWER)).findings[0]
    assert (finding.found, finding.expected) == ('"bot"', "one of system, developer, user, assistant, tool, function")


def test_a_message_without_content_is_a_finding():
    assert found(chat({"role": "user"}, ANSWER)) == [("$.messages[0].content", "message_missing_key")]


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_content_null_is_a_finding(role):
    assert found(chat({"role": role, "content": None}, ANSWER)) == [("$.messages[0].content", "missing_content")]


@pytest.mark.parametrize("content", [None, "", " \n", [{"type": "text", "text": ""}]])
def test_an_assistant_that_says_nothing_is_a_finding(content):
    assert found(chat(USER, {"role": "assistant", "content": content})) == [
        ("$.messages[1].content", "missing_content")
    ]


def test_an_empty_refusal_does_not_stand_in_for_content():
    row = chat(USER, {"role": "assistant", "content": None, "refusal": ""})
    assert found(row) == [("$.messages[1].content", "missing_content")]


@pytest.mark.parametrize("content", [1, True, {}, []])
def test_content_that_is_no_text_is_a_finding(content):
    assert found(chat({"role": "user", "content": content}, ANSWER)) == [("$.messages[0].content", "data_type")]


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "image_not_supported"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "audio_not_supported"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file_not_supported"),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, "video_not_supported"),
    ],
)
def test_a_part_that_is_no_text_is_a_finding_of_its_kind(part, code):
    assert found(chat({"role": "user", "content": [TEXT_PART, part]}, ANSWER)) == [
        ("$.messages[0].content[1].type", code)
    ]


@pytest.mark.parametrize("part", ["Hi", None, {}, {"type": "words"}, {"type": ["text"]}, {"type": "refusal"}])
def test_a_part_of_no_known_kind_is_a_finding(part):
    assert found(chat({"role": "user", "content": [part]}, ANSWER)) == [("$.messages[0].content[0]", "data_type")]


def test_a_text_part_without_text_is_a_finding():
    row = chat({"role": "user", "content": [{"type": "text"}]}, ANSWER)
    assert ("$.messages[0].content[0].text", "data_type") in found(row)


@pytest.mark.parametrize("weight", [2, -1, True, False, 1.0, 0.5, "1", None, []])
def test_a_weight_that_is_not_the_integer_0_or_1_is_a_finding(weight):
    row = chat(USER, ANSWER, USER, {**ANSWER, "weight": weight})
    assert found(row) == [("$.messages[3].weight", "invalid_weight")]


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_a_weight_on_another_role_is_a_finding(role):
    row = chat({"role": role, "content": "Hi", "weight": 1}, ANSWER)
    assert found(row) == [("$.messages[0].weight", "message_unrecognized_key")]


@pytest.mark.parametrize("messages", [[USER], [USER, {**ANSWER, "weight": 0}]])
def test_a_row_without_an_answer_to_train_on_is_a_finding(messages):
    assert found({"messages": messages}) == [("$.messages", "example_missing_assistant_message")]


@pytest.mark.parametrize("key", ["conten", "tool_call_id", "reasoning", "with space"])
def test_an_unknown_key_of_a_message_is_a_finding(key):
    assert [code for _, code in found(chat(USER, {**ANSWER, key: "x"}))] == ["message_unrecognized_key"]


def test_a_key_with_a_space_is_quoted_in_the_path():
    assert found(chat(USER, {**ANSWER, "my key": "x"}))[0][0] == '$.messages[1]["my key"]'


def test_a_name_that_is_no_string_is_a_finding():
    assert found(chat({**USER, "name": 7}, ANSWER)) == [("$.messages[0].name", "data_type")]


@pytest.mark.parametrize("call_id", [None, ""])
def test_a_tool_message_without_tool_call_id_is_a_finding(call_id):
    row = chat(USER, {"role": "tool", "content": "4", "tool_call_id": call_id}, ANSWER)
    assert found(row) == [("$.messages[1].tool_call_id", "message_missing_key")]


def test_a_tool_call_id_that_is_no_string_is_a_finding():
    row = chat(USER, {"role": "tool", "content": "4", "tool_call_id": 1}, ANSWER)
    assert found(row) == [("$.messages[1].tool_call_id", "data_type")]


def test_a_function_message_without_a_name_is_a_finding():
    row = chat(USER, {"role": "function", "content": "4"}, ANSWER)
    assert found(row) == [("$.messages[1].name", "message_missing_key")]


def test_spoken_answers_are_a_finding():
    assert found(chat(USER, {**ANSWER, "audio": {"id": "1"}})) == [("$.messages[1].audio", "audio_not_supported")]


def test_a_refusal_that_is_no_string_is_a_finding():
    assert found(chat(USER, {**ANSWER, "refusal": 1})) == [("$.messages[1].refusal", "data_type")]


@pytest.mark.parametrize("value", ["true", 1, 0])
def test_parallel_tool_calls_that_is_not_true_or_false_is_a_finding(value):
    assert found(chat(USER, ANSWER, parallel_tool_calls=value)) == [("$.parallel_tool_calls", "data_type")]


def test_all_findings_of_a_row_come_at_once():
    row = chat({"role": "bot", "content": 1}, {"role": "assistant", "content": "", "weight": 3}, functions=[])
    assert [code for _, code in found(row)] == [
        "unrecognized_role",
        "data_type",
        "missing_content",
        "invalid_weight",
        "data_type",
    ]


@pytest.mark.parametrize(
    ("row", "path", "code"),
    [
        ({"prompt": "Hi"}, "$.completion", "missing_key"),
        ({"completion": "Hello"}, "$.prompt", "missing_key"),
        ({"prompt": 1, "completion": "Hello"}, "$.prompt", "data_type"),
        ({"prompt": "Hi", "completion": [ANSWER]}, "$.completion", "data_type"),
        ({"prompt": "Hi", "completion": ""}, "$.completion", "missing_content"),
    ],
)
def test_a_completion_row_needs_two_strings(row, path, code):
    assert found(row) == [(path, code)]


def test_the_format_of_a_file_is_that_of_its_rows():
    assert check({"prompt": "Hi", "completion": "Hello"}).format == "completion"


def test_every_row_of_the_other_format_is_a_finding():
    completion = {"prompt": "Hi", "completion": "Hello"}
    findings = check(chat(USER, ANSWER), completion, chat(USER, ANSWER), completion).findings
    assert [(finding.line, finding.code) for finding in findings] == [(2, "mixed_formats"), (4, "mixed_formats")]


@pytest.mark.parametrize(
    "row",
    [
        chat({**USER, "content": ""}, ANSWER),
        chat({**USER, "content": " \n"}, ANSWER),
        chat({"role": "system", "content": ""}, USER, ANSWER),
        {"prompt": "", "completion": "Hello"},
    ],
)
def test_empty_content_before_the_answer_is_a_warning(row):
    assert warned(row) == ["empty_content"]


def test_an_unknown_key_of_a_row_is_a_warning_that_names_it():
    warning = check(chat(USER, ANSWER, source="mail")).warnings[0]
    assert (warning.code, '"source"' in warning.message) == ("unrecognized_key", True)


def test_a_row_that_ends_with_the_user_is_a_warning():
    assert warned(chat(USER, ANSWER, USER)) == ["last_message_not_assistant"]
