"""`pinnace import`: what `pinnace export` wrote, back into an API."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

import click
import msgspec

from pinnace.cli.options import with_client
from pinnace.cli.output import escaped
from pinnace.cli.porting import import_command, import_mlflow
from pinnace.cli.references import find_iteration
from pinnace.client import Client
from pinnace.records import MAX_POINTS_PER_REQUEST, MetricWrite
from pinnace.stores.retrieval import LocalFileError
from pinnace.tables import Format, UnreadableTable, read_rows


class _Row(MetricWrite, frozen=True, kw_only=True):
    iteration_id: UUID


@click.group("import")
def import_() -> None:
    """Bring what was exported, or what another tracker has kept, into the API."""


@import_.command("metrics")
@with_client
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--to", "target", metavar="ITERATION", help="Into this one, whatever the file says.")
def import_metrics(client: Client, *, file: Path, target: str | None) -> None:
    """Add the points in FILE (.csv or .jsonl) that `pinnace export metrics` wrote to its iterations.

    Points that are there already are left alone, so it can be sent again; one that was broken off goes on.
    """
    to = find_iteration(client, target).id if target else None
    added = present = 0
    rows = _rows(file)
    while batch := list(islice(rows, MAX_POINTS_PER_REQUEST)):
        by_iteration: dict[UUID, list[MetricWrite]] = {}
        for row in batch:
            by_iteration.setdefault(to or row.iteration_id, []).append(_point(row))
        for iteration, points in by_iteration.items():
            receipt = client.put_metrics(iteration, points)
            added, present = added + receipt.added, present + receipt.present
    click.echo(f"{added} points added, {present} were there")


import_.add_command(import_command)
import_.add_command(import_mlflow)


def _rows(path: Path) -> Iterator[_Row]:
    """Raises UnreadableTable, LocalFileError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line, row in read_rows(file, Format.CSV if path.suffix == ".csv" else Format.JSONL):
                try:
                    yield msgspec.convert(row, _Row)
                except msgspec.ValidationError as error:
                    raise UnreadableTable(f"line {line}: {error}") from error
    except UnreadableTable as error:
        raise UnreadableTable(f"{path}: {error}", hint="what comes before that line is in the API") from error
    except OSError as error:
        raise LocalFileError(f"{escaped(str(path))} can't be read: {error.strerror or error}") from error


def _point(row: _Row) -> MetricWrite:
    fields = {name: getattr(row, name) for name in MetricWrite.__struct_fields__}
    return MetricWrite(**fields)
