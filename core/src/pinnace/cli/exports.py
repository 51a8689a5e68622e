"""`pinnace export`: what a search found, and series of points, as files that other programs read."""

import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from pinnace.cli.options import shown_option, with_client
from pinnace.cli.output import escaped
from pinnace.cli.porting import export_command
from pinnace.cli.references import find_iteration
from pinnace.cli.search import search, search_options
from pinnace.cli.upkeep import export_files
from pinnace.client import Client
from pinnace.records import Iteration, MetricPoint, MetricSummary, Shown, metric_value_from_wire
from pinnace.stores.retrieval import LocalFileError
from pinnace.tables import Format, check_parquet, write_rows

_PLAIN: Final = re.compile(r"[\w/-]+")
#: What has columns of its own by key comes behind these.
_FAMILIES: Final = {"parameters": "params", "tags": "tags", "metrics": "metrics"}
#: Fields whose values are metrics'.
_VALUES: Final = frozenset({"value", "last", "min", "max"})


def _writable(_context: click.Context, _parameter: click.Parameter, value: str) -> Format:
    """Before anything is asked of the API."""
    if value == Format.PARQUET:
        check_parquet()
    return Format(value)


_format_option = click.option(
    "--format",
    "format_",
    type=click.Choice([each.value for each in Format]),
    default="csv",
    show_default=True,
    callback=_writable,
)
_output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to put it, replacing what is there. Default: standard output.",
)


@click.group("export")
def export() -> None:
    """Write iterations, points of metrics, artifacts, or a whole project to files."""


@export.command("iterations")
@with_client
@search_options
@shown_option
@_format_option
@_output_option
def export_iterations(
    client: Client,
    *,
    experiment: str | None,
    project: str | None,
    where: str | None,
    sort: str | None,
    shown: Shown,
    format_: Format,
    output: Path | None,
) -> None:
    """Write iterations, found as `pinnace iterations` finds them.

    CSV and Parquet have a column for each parameter, tag and figure of a metric. Texts in a CSV that a spreadsheet
    could take for formulas begin with an apostrophe. Parquet needs `pip install 'pinnace[parquet]'`.
    """
    found = search(client, experiment=experiment, project=project, where=where, sort=sort, shown=shown)
    as_row = _ROWS[format_]
    with _opened(output) as file:
        number = write_rows((as_row(each) for each in found), file, format_)
    _say(number, "iterations")


@export.command("metrics")
@with_client
@click.argument("iterations", nargs=-1, required=True)
@click.option("--key", metavar="NAME", help="Only the metric of this name.")
@_format_option
@_output_option
def export_metrics(
    client: Client, *, iterations: tuple[str, ...], key: str | None, format_: Format, output: Path | None
) -> None:
    """Write every point of ITERATIONS (ids or NAME/INDEX). `pinnace import metrics` reads it back."""
    of = [find_iteration(client, each).id for each in iterations]
    as_point = _exact if format_ is Format.PARQUET else msgspec.to_builtins
    rows = ({"iteration_id": str(each)} | as_point(point) for each in of for point in client.metrics(each, key=key))
    with _opened(output) as file:
        number = write_rows(rows, file, format_)
    _say(number, "points")


export.add_command(export_files)
export.add_command(export_command)


def _columns(whole: dict[str, Any]) -> dict[str, Any]:
    """An iteration with a column for each parameter, tag and figure of a metric."""
    row = {name: value for name, value in whole.items() if name not in _FAMILIES}
    for family, prefix in _FAMILIES.items():
        for key, value in whole[family].items():
            column = f"{prefix}.{_spelled(key)}"
            if family == "metrics":
                row |= {f"{column}.{figure}": each for figure, each in value.items()}
            else:
                row[column] = value
    return row


def _exact(record: MetricPoint | MetricSummary | Iteration) -> dict[str, Any]:
    """With moments that are moments, and numbers that JSON has no word for."""
    whole: dict[str, Any] = msgspec.to_builtins(record, builtin_types=(datetime,))
    for name in _VALUES & whole.keys():
        if isinstance(whole[name], str):
            whole[name] = metric_value_from_wire(whole[name])
    if isinstance(record, Iteration):
        whole["metrics"] = {key: _exact(summary) for key, summary in record.metrics.items()}
    return whole


def _spelled(key: str) -> str:
    """As in the filter language."""
    return key if _PLAIN.fullmatch(key) else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


_ROWS: Final[Mapping[Format, Callable[[Iteration], dict[str, Any]]]] = {
    Format.CSV: lambda iteration: _columns(msgspec.to_builtins(iteration)),
    Format.JSONL: msgspec.to_builtins,
    Format.PARQUET: lambda iteration: _columns(_exact(iteration)),
}


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all."""
    if output is None:
        yield sys.stdout.buffer
        return
    partial = output.with_name(f".pinnace-{secrets.token_hex(8)}.part")
    try:
        try:
            with partial.open("xb") as file:
                yield file
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise LocalFileError(f"{escaped(str(output))} can't be written: {error.strerror or error}") from error


def _say(number: int, what: str) -> None:
    click.echo(f"{number} {what}", err=True)
