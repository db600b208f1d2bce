"""What a report counts, what it compares, and which error it gives the job."""

import io
import json
from dataclasses import replace

import pytest

from app.core import dataset
from app.core.dataset import TRAINING, VALIDATION, Finding, Report, RowWarning, checker
from app.core.dataset.findings import FOUND_CHARACTERS, SUBJECTS, TEXT_CHARACTERS

BROKEN = b'{"messages": 1}'


def row(number: int) -> bytes:
    messages = [{"role": "user", "content": f"Hi {number}"}, {"role": "assistant", "content": "Hello"}]
    return json.dumps({"messages": messages}).encode()


def check(*lines: bytes, part: dataset.Part = TRAINING, training: Report | None = None) -> Report:
    return dataset.check(io.BytesIO(b"\n".join(lines)), part, training=training)


def rows(count: int) -> list[bytes]:
    return [row(number) for number in range(count)]


def warned_lines(report: Report, code: str) -> tuple[int, ...]:
    return next((warning.lines for warning in report.warnings if warning.code == code), ())


def test_ten_good_rows_give_no_error():
    assert check(*rows(10)).error() is None


def test_too_few_rows_give_the_error_that_openai_gives():
    assert check(*rows(7)).error() == {
        "code": "invalid_n_examples",
        "message": "Training file has 7 example(s), but must have at least 10 examples",
        "param": "training_file",
    }


def test_rows_that_are_held_out_are_none_to_train_on():
    assert replace(check(*rows(12)), held_out=2).error() is None
    error = replace(check(*rows(12)), held_out=3).error()
    assert error is not None
    assert error["message"] == (
        "Training file has 12 example(s), 3 of them held out by eval_carveout, "
        "but must have at least 10 examples to train on"
    )


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file_has_no_examples(content):
    error = check(content).error()
    assert error is not None
    assert error["message"] == "Training file has 0 example(s), but must have at least 10 examples"


def test_a_validation_file_needs_one_row():
    assert check(row(0), part=VALIDATION).error() is None


def test_an_empty_validation_file_is_an_error_of_its_own_parameter():
    assert check(part=VALIDATION).error() == {
        "code": "invalid_n_examples",
        "message": "Validation file has 0 example(s), but must have at least 1 example",
        "param": "validation_file",
    }


def test_the_error_names_the_first_finding_and_the_number_of_others():
    error = check(*rows(10), BROKEN, b"nope", b"nope").error()
    assert error is not None
    assert (error["code"], error["param"]) == ("invalid_training_file", "training_file")
    assert error["message"].startswith(
        "The job failed due to an invalid training file. Line 11, $.messages: found 1; expected a list"
    )
    assert error["message"].endswith("2 more findings are in the report.")


def test_the_error_of_a_validation_file_names_that_file():
    error = check(BROKEN, part=VALIDATION).error()
    assert error is not None
    assert (error["code"], error["param"]) == ("invalid_validation_file", "validation_file")
    assert error["message"].startswith("The job failed due to an invalid validation file. Line 1, ")


def test_an_error_about_findings_also_tells_of_too_few_rows():
    error = check(BROKEN).error()
    assert error is not None
    assert error["message"].endswith("Training file has 1 example(s), but must have at least 10 examples.")


def test_rows_with_findings_are_counted_as_rows():
    assert check(row(0), BROKEN, b"nope").rows == 3


def test_a_hundred_findings_are_listed_and_all_are_counted():
    report = check(*[BROKEN] * 250)
    assert (len(report.findings), report.finding_count) == (100, 250)


def test_the_last_but_one_of_50000_rows_is_named_by_its_line():
    lines = rows(50_000)
    lines[49_998] = BROKEN
    assert [finding.line for finding in check(*lines).findings] == [49_999]


def test_found_is_cut_to_80_characters():
    role = json.dumps({"messages": [{"role": "x" * 5_000_000, "content": "Hi"}]}).encode()
    assert len(check(role).findings[0].found) == FOUND_CHARACTERS


def test_the_path_of_a_finding_is_bounded():
    text = json.dumps({"messages": [{"role": "user", "content": "Hi", "k" * 5_000_000: 1}]}).encode()
    assert len(check(text).findings[0].path) <= TEXT_CHARACTERS


def test_a_nul_in_a_key_is_shown_as_an_escape():
    finding = check(b'{"messages": [], "\\u0000": 1}').findings[0]
    assert "\0" not in json.dumps(finding.as_dict(), ensure_ascii=False)


def test_a_finding_survives_the_way_through_another_process():
    finding = Finding(7, "$.tools", "template_failed", "x", "y", "z")
    assert Finding.from_dict(json.loads(json.dumps(finding.as_dict()))) == finding


def test_a_finding_of_another_process_is_cut_and_cleaned():
    wire = {"line": 7, "path": "$", "code": "c", "found": "\0\ud800" + "x" * 999, "expected": "y" * 999, "fix": "z"}
    finding = Finding.from_dict(wire)
    assert finding.found.startswith("\\u0000\\ud800x")
    assert (len(finding.found), len(finding.expected)) == (FOUND_CHARACTERS, TEXT_CHARACTERS)


def test_a_finding_of_another_process_without_a_line_is_refused():
    with pytest.raises(KeyError):
        Finding.from_dict({"path": "$", "code": "c", "found": "", "expected": "", "fix": ""})


def test_later_findings_and_warnings_join_the_report():
    later = Finding(3, "$", "template_failed", "x", "y", "z")
    cut = RowWarning.of("row_cut", lines=[5], count=1)
    report = check(BROKEN).joined([later], 4, [cut])
    assert ([finding.code for finding in report.findings], report.finding_count, report.warnings) == (
        ["missing_messages_list", "template_failed"],
        5,
        (cut,),
    )


def test_later_findings_do_not_lengthen_a_full_list():
    later = Finding(3, "$", "template_failed", "x", "y", "z")
    assert len(check(*[BROKEN] * 100).joined([later], 1).findings) == 100


def test_repeated_rows_are_warned_of_with_their_lines():
    report = check(row(1), row(2), row(1), row(2), row(1))
    assert warned_lines(report, "duplicate_row") == (3, 4, 5)


@pytest.mark.parametrize(
    "other",
    [
        b'{"messages":[{"role":"user","content":"H\\u00e9"},{"role":"assistant","content":"Hello"}]}',
        b'{ "messages" : [ {"content":"H\xc3\xa9","role":"user"}, {"content":"Hello","role":"assistant"} ] }\r',
    ],
    ids=["escaped", "spaced and ordered otherwise"],
)
def test_a_row_that_is_only_written_otherwise_is_a_repetition(other):
    plain = '{"messages":[{"role":"user","content":"Hé"},{"role":"assistant","content":"Hello"}]}'.encode()
    assert warned_lines(check(plain, other), "duplicate_row") == (2,)


def test_rows_that_differ_in_a_weight_are_no_repetition():
    weighed = b'{"messages":[{"role":"assistant","content":"a"},{"role":"assistant","content":"b","weight":%d}]}'
    assert check(weighed % 0, weighed % 1).warnings == ()


def test_training_rows_in_the_validation_file_are_warned_of():
    training = check(*rows(10))
    report = check(row(99), row(3), row(4), part=VALIDATION, training=training)
    assert warned_lines(report, "row_in_training_file") == (2, 3)


def test_rows_beyond_the_memory_for_repetition_are_told(monkeypatch):
    monkeypatch.setattr(checker, "MAX_COMPARED_ROWS", 2)
    report = check(row(1), row(2), row(3), row(1))
    assert (warned_lines(report, "row_not_compared"), warned_lines(report, "duplicate_row")) == ((3,), (4,))


def test_a_warning_lists_a_hundred_lines_and_counts_all():
    warning = check(*[row(1)] * 200).warnings[0]
    assert (len(warning.lines), warning.count) == (100, 199)


def test_a_warning_says_how_many_rows_and_where():
    assert check(row(1), row(1), row(1)).warnings[0].message == "Rows that repeat an earlier row: 2 (lines 2, 3)"


def test_a_row_counts_once_however_often_a_warning_applies():
    empty = (
        b'{"messages":[{"role":"system","content":""},{"role":"user","content":""},{"role":"assistant","content":"a"}]}'
    )
    assert check(empty).warnings[0].count == 1


@pytest.mark.parametrize("code", SUBJECTS)
def test_the_message_of_a_warning_is_short_however_many_lines_it_has(code):
    warning = RowWarning.of(code, lines=range(1, 10**6), count=10**6, names=["x" * 20] * 10)
    assert len(warning.message) < 500


def test_the_full_report_is_json_with_totals_findings_and_warnings():
    report = json.loads(json.dumps(check(row(1), row(1), BROKEN).as_dict()))
    assert (report["rows"], report["finding_count"], report["format"]) == (3, 1, "chat")
    assert report["findings"][0]["line"] == 3
    assert report["warnings"][0]["lines"] == [2]
    assert report["error"]["code"] == "invalid_training_file"


def test_the_report_of_a_hopeless_file_is_small():
    line = json.dumps({"messages": [{"role": "x" * 9999, "k" * 9999: 1}] * 10, "u" * 9999: 1}).encode()
    assert len(json.dumps(check(*[line] * 1000).as_dict())) < 100_000
