"""Tables: what is written is read back unchanged, and no cell is a formula."""

import csv
import io
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.tables import Format, UnreadableTable, read_rows, write_rows
from pinnace.tables.cells import from_cell, to_cell

#: Texts that look like something else more often than chance would have it.
TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.text(alphabet="=+-@'\"\t\r\n ,;1.e" + string.ascii_lowercase[:3], max_size=6),
    st.sampled_from(["1", "-1", "1e999", "true", "null", "NaN", "-Infinity", "=1+1", "'", "''", '"', "[1]", " 1", "{"]),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_a_value_is_read_from_its_cell_unchanged(value: Any) -> None:
    back = from_cell(to_cell(value))
    assert back == value
    assert type(back) is type(value)


@given(TEXTS)
def test_no_cell_of_a_text_begins_as_a_formula_does(text: str) -> None:
    assert not to_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@sum", "'@sum"),
        ("-Infinity", "'-Infinity"),
        ("'quoted", "''quoted"),
        (-1.5, "-1.5"),
        ("-1.5", '"-1.5"'),
        ("", '""'),
        (None, ""),
        ("plain text", "plain text"),
        (True, "true"),
    ],
)
def test_how_cells_are_spelled(value: Any, cell: str) -> None:
    assert to_cell(value) == cell


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=5), st.sampled_from([Format.CSV, Format.JSONL]))
def test_rows_are_read_back_as_they_were_written(rows: list[dict[str, Any]], format_: Format) -> None:
    file = io.BytesIO()
    assert write_rows(rows, file, format_) == len(rows)
    held = [{column: value for column, value in row.items() if value is not None} for row in rows]
    text = io.StringIO(file.getvalue().decode(), newline="")
    assert [row for _, row in read_rows(text, format_)] == held


def test_a_column_that_comes_late_is_in_the_head() -> None:
    file = io.BytesIO()
    write_rows([{"a": 1}, {"b": "x"}], file, Format.CSV)
    assert list(csv.reader(file.getvalue().decode().splitlines())) == [["a", "b"], ["1", ""], ["", "x"]]


@pytest.mark.parametrize(
    ("format_", "text", "complaint"),
    [
        (Format.CSV, "a,b\r\n1\r\n", "line 2: 1 cells for 2 columns"),
        (Format.CSV, 'a\r\n"1', "line 2: this is no CSV"),
        (Format.JSONL, '{"a":1}\n[1]\n', "line 2: this is no JSON object"),
        (Format.JSONL, '{"a":1}\n{"a"', "line 2: this is no JSON object"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(format_: Format, text: str, complaint: str) -> None:
    with pytest.raises(UnreadableTable, match=complaint):
        list(read_rows(io.StringIO(text, newline=""), format_))


@pytest.mark.parametrize("format_", [Format.CSV, Format.JSONL])
def test_what_is_no_text_is_no_table(format_: Format) -> None:
    with pytest.raises(UnreadableTable, match="can't decode"):
        list(read_rows(io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"), format_))
