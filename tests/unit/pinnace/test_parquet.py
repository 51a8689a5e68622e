"""Parquet: columns have one type each, and memory does not grow with the rows."""

import io
import math
import sys
from datetime import UTC, datetime
from typing import Any

import pyarrow as arrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.tables import Format, write_rows

MOMENT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def written(rows: list[dict[str, Any]]) -> arrow.Table:
    file = io.BytesIO()
    assert write_rows(rows, file, Format.PARQUET) == len(rows)
    return parquet.read_table(file)


@pytest.mark.parametrize(
    ("values", "type_", "held"),
    [
        ([1, None, -(2**63)], "int64", [1, None, -(2**63)]),
        ([1, 0.5, math.inf], "double", [1.0, 0.5, math.inf]),
        ([True, None], "bool", [True, None]),
        (["=x", ""], "string", ["=x", ""]),
        ([MOMENT, None], "timestamp[us, tz=UTC]", [MOMENT, None]),
        ([1, "1", True], "string", ["1", '"1"', "true"]),
        ([[1], {"a": None}, "x"], "string", ["[1]", '{"a":null}', '"x"']),
        ([2**70], "string", [str(2**70)]),
        ([None], "string", [None]),
    ],
)
def test_a_column_has_the_one_type_that_holds_all_its_values(values: list[Any], type_: str, held: list[Any]) -> None:
    table = written([{"a": value} for value in values])
    assert str(table.schema.field("a").type) == type_
    assert table.column("a").to_pylist() == held


def test_columns_come_late_and_nothing_is_a_table_too() -> None:
    assert written([{"a": 1}, {"b": "x"}]).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert written([]).num_rows == 0


def test_rows_are_written_in_groups() -> None:
    file = io.BytesIO()
    write_rows(({"a": number} for number in range(25_000)), file, Format.PARQUET)
    found = parquet.ParquetFile(file)
    assert [found.metadata.row_group(each).num_rows for each in range(found.num_row_groups)] == [10_000, 10_000, 5_000]
    large = io.BytesIO()
    write_rows(({"a": "x" * 2**20} for _ in range(40)), large, Format.PARQUET)
    assert parquet.ParquetFile(large).num_row_groups == 3


def test_without_the_package_it_is_said_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = CliRunner().invoke(main, ["export", "metrics", "sweep/0", "--format", "parquet"])
    assert result.exit_code == Exit.USAGE
    assert "pip install 'pinnace[parquet]'" in result.stderr
