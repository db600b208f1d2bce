"""What method dpo takes as a row, and what it says of the rest."""

import io
import json
from typing import Any

import pytest

from app.core import dataset
from tests.core.test_dataset_rows import ANSWER, CALL, TEXT_PART, USER, chat

OTHER = {"role": "assistant", "content": "Go away"}
LOOKED = [{"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "cold"}]
TOOL = {"type": "function", "function": {"name": "look"}}


def check(*rows: object) -> dataset.Report:
    return dataset.check(io.BytesIO(b"\n".join(json.dumps(row).encode() for row in rows)), method="dpo")


def pair(preferred: Any = (ANSWER,), other: Any = (OTHER,), *, messages: Any = (USER,), **extra: object) -> Any:
    return {"input": {"messages": messages, **extra}, "preferred_output": preferred, "non_preferred_output": other}


def found(row: object) -> list[tuple[str, str]]:
    return [(finding.path, finding.code) for finding in check(row).findings]


@pytest.mark.parametrize(
    "row",
    [
        pair(),
        pair(messages=[{"role": "system", "content": "Be kind."}, USER, ANSWER, USER]),
        pair(tools=[TOOL], parallel_tool_calls=False),
        pair([*LOOKED, ANSWER], [OTHER]),
        pair([{"role": "assistant", "content": None, "tool_calls": [CALL]}], [OTHER]),
        pair([{**ANSWER, "content": [TEXT_PART]}]),
        {"input": {"messages": [USER]}, "preferred_completion": [ANSWER], "non_preferred_completion": [OTHER]},
        {"input": {"messages": [USER]}, "preferred_completion": [ANSWER], "non_preferred_output": [OTHER]},
    ],
)
def test_a_pair_is_accepted_without_a_word(row):
    report = check(row)
    assert (report.findings, report.warnings, report.format) == ((), (), "preference")


@pytest.mark.parametrize("row", [chat(USER, ANSWER), {}, {"prompt": "Hi", "completion": "Hello"}])
def test_a_row_of_another_method_is_one_finding_that_names_the_other_method(row):
    [finding] = check(row).findings
    assert (finding.path, finding.code) == ("$", "missing_key")
    assert '"supervised"' in finding.fix


def test_preference_rows_in_a_supervised_job_are_told_of_dpo():
    report = dataset.check(io.BytesIO(json.dumps(pair()).encode()))
    assert '"dpo"' in report.findings[0].fix


@pytest.mark.parametrize("row", [[], 3, "row", None])
def test_what_is_no_object_is_a_finding(row):
    assert found(row) == [("$", "data_type")]


@pytest.mark.parametrize(
    ("gone", "path"),
    [
        ("input", "$.input"),
        ("preferred_output", "$.preferred_output"),
        ("non_preferred_output", "$.non_preferred_output"),
    ],
)
def test_a_missing_key_is_named(gone, path):
    assert found({key: value for key, value in pair().items() if key != gone}) == [(path, "missing_key")]


@pytest.mark.parametrize("value", [None, [], {}, "Hello", 3])
def test_an_answer_that_is_no_list_of_messages_is_named(value):
    assert found(pair(value)) == [("$.preferred_output", "data_type")]
    assert found(pair(other=value)) == [("$.non_preferred_output", "data_type")]


def test_an_input_without_messages_is_named():
    assert found({**pair(), "input": "Hi"}) == [("$.input", "data_type")]
    assert found({**pair(), "input": {}}) == [("$.input.messages", "missing_messages_list")]
    assert found(pair(messages=[])) == [("$.input.messages", "missing_messages_list")]


def test_both_spellings_at_once_are_named():
    row = {**pair(), "preferred_completion": [ANSWER]}
    assert found(row) == [("$.preferred_completion", "duplicate_key")]


@pytest.mark.parametrize("role", ["user", "system", "developer", "function", "customer"])
def test_only_the_assistant_and_its_tools_answer(role):
    assert found(pair([{"role": role, "content": "Hi"}, ANSWER])) == [
        ("$.preferred_output[0].role", "unrecognized_role")
    ]
    assert found(pair(other=[{"role": role, "content": "Hi"}, OTHER])) == [
        ("$.non_preferred_output[0].role", "unrecognized_role")
    ]


def test_an_answer_that_ends_with_a_tool_is_named():
    assert found(pair(LOOKED)) == [("$.preferred_output[1].role", "last_message_not_assistant")]
    assert found(pair(other=LOOKED)) == [("$.non_preferred_output[1].role", "last_message_not_assistant")]


@pytest.mark.parametrize(
    "same",
    [
        ANSWER,
        {**ANSWER, "name": None},
        {"role": "assistant", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]},
        {**ANSWER, "tool_calls": None, "refusal": ""},
    ],
)
def test_equal_answers_are_named_however_they_are_written(same):
    assert ("$.non_preferred_output", "equal_outputs") in found(pair([ANSWER], [same]))


@pytest.mark.parametrize("other", [{"role": "assistant", "refusal": "Hello"}, {**ANSWER, "tool_calls": [CALL]}])
def test_answers_with_the_same_words_but_another_meaning_are_not_equal(other):
    assert found(pair([ANSWER], [other])) == []


def test_what_is_wrong_inside_the_messages_is_named_by_its_place():
    assert found(pair(messages=[USER, {"role": "customer", "content": "Hi"}])) == [
        ("$.input.messages[1].role", "unrecognized_role")
    ]
    assert found(pair([{"role": "assistant"}])) == [("$.preferred_output[0].content", "message_missing_key")]
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert found(pair(messages=[{"role": "user", "content": [picture]}])) == [
        ("$.input.messages[0].content[0].type", "image_not_supported")
    ]
    assert found(pair(tools="look")) == [("$.input.tools", "data_type")]
    assert found(pair([17])) == [("$.preferred_output[0]", "data_type")]


def test_keys_that_nothing_reads_are_a_warning_and_so_is_a_weight():
    row = {**pair([{**ANSWER, "weight": 0}], mood="good"), "score": 3}
    report = check(row)
    assert report.findings == ()
    [warning] = report.warnings
    assert warning.code == "unrecognized_key"
    assert all(name in warning.message for name in ('"score"', '"mood"', '"weight"'))


def test_a_repeated_pair_is_a_warning():
    assert [warning.code for warning in check(pair(), pair()).warnings] == ["duplicate_row"]
