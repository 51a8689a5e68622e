"""Tables as Parquet, with columns of one type each. Memory depends on a group of rows and on the number of columns.

A column is of whole numbers, of numbers, of truth values, of moments, or of texts; one with values of several kinds, or
with lists or objects, is of texts that hold JSON.
"""

import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final

import msgspec

from pinnace.extras import required

#: A group ends with whichever comes first; a byte is one before it is packed into columns.
_GROUP_ROWS: Final = 10_000
_GROUP_BYTES: Final = 16 * 2**20
_WHOLE: Final = 2**63
_JSON: Final = "json"


def check_parquet() -> None:
    """Raise MissingExtra unless Parquet can be written."""
    required("pyarrow.parquet", "parquet")


def write_parquet(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> int:
    """Write rows of JSON values and moments with a time zone; returns how many. Raises MissingExtra.

    The columns are those of all rows, in the order in which they first come.
    """
    parquet = required("pyarrow.parquet", "parquet")
    # The schema needs the columns of all rows and their kinds, so these wait in a file meanwhile.
    with tempfile.TemporaryFile() as waiting:
        kinds: dict[str, set[str]] = {}
        number = 0
        for row in rows:
            for column, value in row.items():
                found = kinds.setdefault(column, set())
                if value is not None:
                    found.add(_kind(value))
            pickle.dump(dict(row), waiting)
            number += 1
        waiting.seek(0)
        arrow = required("pyarrow", "parquet")
        schema = arrow.schema([(column, _type(arrow, found)) for column, found in kinds.items()])
        as_json = {column for column, found in kinds.items() if _is_json(found)}
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _groups(waiting, number):
                columns = {
                    column: [_text(row.get(column)) if column in as_json else row.get(column) for row in group]
                    for column in kinds
                }
                writer.write_table(arrow.table(columns, schema=schema))
    return number


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() if -_WHOLE <= value < _WHOLE:
            return "int"
        case float():
            return "float"
        case str():
            return "str"
        case datetime():
            return "datetime"
        case _:
            return _JSON


def _is_json(kinds: set[str]) -> bool:
    return _JSON in kinds or (len(kinds) > 1 and kinds != {"int", "float"})


def _type(arrow: Any, kinds: set[str]) -> Any:
    if _is_json(kinds):
        return arrow.string()
    if "float" in kinds:
        return arrow.float64()
    (kind,) = kinds or {"str"}
    return {
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "str": arrow.string(),
        "datetime": arrow.timestamp("us", tz="UTC"),
    }[kind]


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _groups(waiting: BinaryIO, rows: int) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    begun = 0
    for _ in range(rows):
        group.append(pickle.load(waiting))  # noqa: S301 - we have just written it
        if len(group) == _GROUP_ROWS or waiting.tell() - begun >= _GROUP_BYTES:
            yield group
            group, begun = [], waiting.tell()
    if group:
        yield group
