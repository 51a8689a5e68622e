"""Tables in files. Memory depends on one row and on the number of columns, never on the number of rows."""

import csv
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from io import TextIOWrapper
from typing import Any, BinaryIO, Final, TextIO

import msgspec

from pinnace.errors import PinnaceError
from pinnace.tables.cells import from_cell, to_cell
from pinnace.tables.parquet import write_parquet

#: As long as a cell may be that we read; the longest note or error of ours stays far below.
_MAX_CELL: Final = 2**27


class Format(StrEnum):
    """How a table is written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class UnreadableTable(PinnaceError):
    """The file holds something else than such a table. The message says in which line."""


def write_rows(rows: Iterable[Mapping[str, Any]], file: BinaryIO, format_: Format) -> int:
    """Write rows of JSON values, for Parquet also of moments; returns how many. Raises MissingExtra.

    The columns of a CSV or Parquet file are those of all rows, in the order in which they first come.
    """
    if format_ is Format.PARQUET:
        return write_parquet(rows, file)
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        return _write_lines(rows, text) if format_ is Format.JSONL else _write_csv(rows, text)
    finally:
        # It would close what is the caller's.
        text.detach()


def read_rows(file: TextIO, format_: Format) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows that `write_rows` wrote as text, each with its line, without what is None. Raises UnreadableTable.

    `file` was opened with `newline=""`.
    """
    return _read_lines(file) if format_ is Format.JSONL else _read_csv(file)


def _write_lines(rows: Iterable[Mapping[str, Any]], file: TextIO) -> int:
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007 - counted for the return
        file.write(msgspec.json.encode(row).decode() + "\n")
    return number


def _write_csv(rows: Iterable[Mapping[str, Any]], file: TextIO) -> int:
    # The head needs the columns of all rows, so these wait in a file meanwhile.
    with tempfile.TemporaryFile() as waiting:
        columns: dict[str, None] = {}
        for row in rows:
            columns.update(dict.fromkeys(row))
            waiting.write(msgspec.json.encode(row) + b"\n")
        waiting.seek(0)
        writer = csv.writer(file)
        writer.writerow(to_cell(column) for column in columns)
        number = 0
        for row in _waiting(waiting):
            writer.writerow(to_cell(row.get(column)) for column in columns)
            number += 1
    return number


def _waiting(file: BinaryIO) -> Iterator[dict[str, Any]]:
    for line in file:
        yield msgspec.json.decode(line, type=dict[str, Any])


def _read_lines(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    number = 0
    try:
        for number, line in enumerate(file, 1):
            row = decoder.decode(line)
            yield number, {column: value for column, value in row.items() if value is not None}
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UnreadableTable(f"line {number}: this is no JSON object: {error}") from error


def _read_csv(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(min(_MAX_CELL, sys.maxsize))
    reader = csv.reader(file, strict=True)
    try:
        columns = [str(from_cell(cell)) for cell in next(reader, [])]
        for cells in reader:
            if len(cells) != len(columns):
                raise UnreadableTable(f"line {reader.line_num}: {len(cells)} cells for {len(columns)} columns")
            values = zip(columns, map(from_cell, cells), strict=True)
            yield reader.line_num, {column: value for column, value in values if value is not None}
    except (csv.Error, UnicodeError) as error:
        raise UnreadableTable(f"line {reader.line_num}: this is no CSV: {error}") from error
