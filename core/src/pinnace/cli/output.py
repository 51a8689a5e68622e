"""How rows are shown: a table on a terminal, tab-separated text elsewhere, JSON lines with `--json`.

Names come from whoever runs experiments: whatever could move a cursor, hide text or break a line is escaped.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_RowT = TypeVar("_RowT", bound=msgspec.Struct)


class Column(msgspec.Struct, Generic[_RowT], frozen=True):
    """One column: `value` is exact and for programs; `brief`, if there is one, is for the eyes of a person."""

    title: str
    value: Callable[[_RowT], str]
    brief: Callable[[_RowT], str] | None = None


def show(rows: Iterable[_RowT], columns: tuple[Column[_RowT], ...], *, as_json: bool, limit: int) -> None:
    """Print the first `limit` rows (0: all); says on stderr when there are more."""
    shown = _limited(rows, limit)
    if as_json:
        for row in shown:
            print_json(row)
    elif sys.stdout.isatty():
        _print_table(shown, columns)
    else:
        click.echo("\t".join(column.title for column in columns))
        for row in shown:
            click.echo("\t".join(escaped(column.value(row)) for column in columns))


def one_more(limit: int) -> int | None:
    """How many to ask the API for, so that `show` can tell whether there are more than `limit` (0: all)."""
    return limit + 1 if limit else None


def print_json(value: object) -> None:
    """One line of JSON. Unprintable characters are written as \\uXXXX, which means the same."""
    text = msgspec.json.encode(value).decode()
    click.echo("".join(letter if letter.isprintable() else _json_escape(letter) for letter in text))


def escaped(text: str) -> str:
    """`text` on one line without control, bidirectional or other invisible characters: those as \\n, \\x1b, \\u202e."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() and letter != "\\" else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def bytes_in_words(size: int) -> str:
    """`size` as 64.0 MiB."""
    amount, units = float(size), ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    for unit in units:
        if amount < 1024 or unit == units[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def moment(time: datetime | None) -> str:
    """ISO 8601 with seconds; empty for none."""
    return "" if time is None else time.isoformat(timespec="seconds")


def assignments(values: Mapping[str, Any]) -> str:
    """`a=1 b=x`, by name."""
    return " ".join(f"{name}={_scalar(value)}" for name, value in sorted(values.items()))


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return msgspec.json.encode(value).decode()


def _limited(rows: Iterable[_RowT], limit: int) -> Iterable[_RowT]:
    for count, row in enumerate(rows):
        if limit and count == limit:
            click.echo(f"there are more than these {limit}: --limit 0 shows all", err=True)
            return
        yield row


def _print_table(rows: Iterable[_RowT], columns: tuple[Column[_RowT], ...]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, overflow="fold")
    for row in rows:
        # Text, because a string would be searched for rich's own markup.
        table.add_row(*(Text(escaped((column.brief or column.value)(row))) for column in columns))
    Console().print(table)


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
