"""Rows are counted as their bytes come, wherever those are cut."""

from hypothesis import given
from hypothesis import strategies as some

from app.actions.incoming import RowCount

LINES = some.text(alphabet=" \t\r\n\v\fa\x00\x1c\x85ÿ", max_size=40).map(lambda text: text.encode("latin-1"))


@given(LINES, some.integers(1, 9))
def test_rows_are_lines_with_more_than_white_space_wherever_they_are_cut(content, size):
    rows = RowCount()
    for start in range(0, len(content), size):
        rows.add(content[start : start + size])
    assert rows.total == sum(bool(line.strip()) for line in content.split(b"\n"))
