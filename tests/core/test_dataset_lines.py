"""What a line may be made of, and what is said of one that is not."""

import io
import json

import pytest

from app.core import dataset
from app.core.dataset.lines import MAX_LINE_BYTES
from app.core.dataset.values import MAX_DEPTH

GOOD = b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}'


def check(content: bytes) -> dataset.Report:
    return dataset.check(io.BytesIO(content))


def only_finding(content: bytes) -> dataset.Finding:
    report = check(content)
    assert report.finding_count == 1, report.findings
    return report.findings[0]


def chat_with(member: bytes) -> bytes:
    return GOOD[:-1] + b"," + member + b"}"


def nested(levels: int) -> bytes:
    """A row that is so many levels deep, in a key that is read past."""
    return chat_with(b'"extra":' + b"[" * (levels - 1) + b"]" * (levels - 1))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD + b"\n",
        GOOD + b"\r\n" + GOOD + b"\r\n",
        GOOD + b"\n" + GOOD,
        GOOD + b"\n\n\r\n  \n",
        b"  " + GOOD + b"\t\n",
        GOOD.replace(b"Hi", "Grüß dich, 世界 🙂".encode()),
        GOOD.replace(b"Hi", b"\\ud83d\\ude42"),
        GOOD.replace(b"Hi", b"\\\\u0000 and \\\\ud800 are names here"),
        GOOD.replace(b"Hi", b"1e999 NaN {{{{ [[[["),
    ],
    ids=[
        "BOM",
        "CRLF",
        "no last line end",
        "blank end",
        "spaces",
        "UTF-8",
        "surrogate pair",
        "backslashes",
        "literals",
    ],
)
def test_a_line_is_accepted(content):
    assert check(content).findings == ()


def test_blank_lines_at_the_end_are_no_rows():
    assert check(GOOD + b"\n\n\n").rows == 1


def test_all_bytes_are_counted():
    content = b"\xef\xbb\xbf" + GOOD + b"\r\n\n\n" + b"x" * (2 * MAX_LINE_BYTES)
    assert check(content).size_bytes == len(content)


def test_an_empty_line_in_the_middle_is_a_finding_on_its_own_line():
    finding = only_finding(GOOD + b"\n\n" + GOOD)
    assert (finding.line, finding.code, finding.found) == (2, "empty_line", "an empty line")


def test_a_run_of_empty_lines_is_one_finding():
    finding = only_finding(GOOD + b"\n\n \r\n\n" + GOOD)
    assert (finding.line, finding.found) == (2, "3 empty lines, up to line 4")


def test_an_empty_first_line_is_a_finding():
    assert only_finding(b"\n" + GOOD).line == 1


def test_a_line_after_empty_ones_keeps_its_number():
    assert [finding.line for finding in check(GOOD + b"\n\n\nnope\n").findings] == [2, 4]


def test_a_byte_that_is_not_utf8_is_named_with_its_place():
    finding = only_finding(GOOD + b'\n{"caf\xe9": 1}\n')
    assert (finding.line, finding.code, finding.found) == (2, "invalid_utf8", "0xE9 as byte 6 of the line")


def test_an_encoded_surrogate_is_not_utf8():
    assert only_finding(GOOD.replace(b"Hi", b"\xed\xa0\x80")).code == "invalid_utf8"


def test_a_nul_byte_is_named_with_its_place():
    finding = only_finding(b'{"\0": 1}')
    assert (finding.code, finding.found) == ("nul_byte", "a NUL as byte 3 of the line")


def test_a_file_in_utf16_is_told_to_be_utf8():
    assert "UTF-16" in check(GOOD.decode().encode("utf-16")).findings[0].fix


def test_broken_json_is_named_with_column_and_cause():
    finding = only_finding(b'{"messages": [1 2]}')
    assert finding.code == "invalid_json"
    assert finding.found == """column 17: Expecting ',' delimiter, at "2]}\""""


def test_json_that_ends_too_early_says_so():
    assert only_finding(b'{"messages": [\n').found.endswith("at the end")


def test_two_objects_on_one_line_are_a_finding():
    assert only_finding(GOOD + GOOD).found.startswith(f"column {len(GOOD) + 1}: Extra data")


def test_a_byte_order_mark_inside_the_file_is_a_finding():
    assert only_finding(GOOD + b"\n\xef\xbb\xbf" + GOOD).line == 2


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1E+400", b"9" * 1001])
def test_a_number_that_others_cannot_read_is_a_finding(number):
    assert only_finding(chat_with(b'"extra":' + number)).code == "invalid_number"


def test_a_doubled_key_is_named_with_its_path():
    finding = only_finding(GOOD.replace(b'"content":"Hello"', b'"content":"Hello","content":"Bye"'))
    assert (finding.path, finding.code) == ("$.messages[1].content", "duplicate_key")


def test_a_doubled_key_inside_a_value_that_another_doubled_key_hides_is_found():
    assert only_finding(b'{"a":{"b":1,"b":2},"a":3}').code == "duplicate_key"


def test_a_doubled_key_before_broken_json_is_a_finding():
    assert only_finding(b'{"a":{"b":1,"b":2},').code == "duplicate_key"


def test_a_row_as_deep_as_allowed_is_accepted():
    assert check(nested(MAX_DEPTH)).findings == ()


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1_000, 100_000])
def test_a_row_that_is_too_deep_is_a_finding(levels):
    assert only_finding(nested(levels)).code == "nested_too_deep"


def test_deep_nesting_that_never_closes_is_a_finding():
    assert check(b'{"a":' * 100_000).finding_count == 1


def test_a_nul_character_written_as_an_escape_is_named_with_its_path():
    finding = only_finding(GOOD.replace(b"Hi", b"a\\u0000b"))
    assert (finding.path, finding.code) == ("$.messages[0].content", "invalid_character")


def test_half_a_surrogate_pair_is_a_finding():
    assert only_finding(GOOD.replace(b"Hi", b"\\ud83d alone")).found.startswith("\\ud83d in ")


def test_half_a_surrogate_pair_in_a_key_is_a_finding():
    assert only_finding(chat_with(b'"\\uDFFF":1')).code == "invalid_character"


def test_a_line_of_the_greatest_length_is_accepted():
    filler = b"x" * (MAX_LINE_BYTES - len(GOOD) - 1)
    assert check(GOOD.replace(b"Hi", b"Hi" + filler) + b"\n").findings == ()


def test_a_line_over_the_greatest_length_is_named_with_its_length():
    filler = b"x" * (3 * MAX_LINE_BYTES)
    finding = only_finding(GOOD + b"\n" + filler + b"\n" + GOOD)
    assert (finding.line, finding.code) == (2, "line_too_long")
    assert finding.found == f"{len(filler) + 1} bytes on one line"


def test_a_long_line_of_spaces_is_not_blank():
    assert only_finding(b" " * (MAX_LINE_BYTES + 5) + GOOD).code == "line_too_long"


def test_no_more_than_a_line_is_asked_of_the_file_at_once():
    class Endless(io.BytesIO):
        asked = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            self.asked = max(self.asked, size if size >= 0 else 1 << 60)
            return super().readline(size)

    file = Endless(b"x" * (3 * MAX_LINE_BYTES))
    dataset.check(file)
    assert 0 < file.asked <= MAX_LINE_BYTES + 1


@pytest.mark.parametrize("row", [[], "text", 3, True, None, [{"messages": []}]])
def test_a_row_that_is_no_object_is_a_finding(row):
    finding = only_finding(json.dumps(row).encode())
    assert (finding.path, finding.code) == ("$", "data_type")
