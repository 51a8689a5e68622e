"""`pinnace compare`: iterations side by side."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import click
import msgspec

from pinnace.cli.options import json_option, with_client
from pinnace.cli.output import Column, print_json, show
from pinnace.cli.references import find_iteration
from pinnace.client import Client
from pinnace.records import Comparison, Likeness


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """One name and its values by iteration; `best` is marked for a person."""

    name: str
    likeness: Likeness
    values: dict[UUID, Any]
    best: UUID | None = None


@click.command
@with_client
@click.argument("iterations", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Also show what is the same in all of them.")
@json_option
def compare(client: Client, *, iterations: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Show in what ITERATIONS (ids or NAME/INDEX, 50 at most) differ: parameters, metrics, tags, datasets, environment.

    On a terminal `*` marks the lowest minimum and the highest maximum of a metric. With --json: all of it, in one line.
    """
    found = client.compare([find_iteration(client, each).id for each in iterations])
    if as_json:
        print_json(found)
        return
    columns: list[Column[_Line]] = [
        Column("NAME", lambda row: row.name),
        Column("LIKENESS", lambda row: row.likeness.value),
    ]
    columns += [_column(each.name or str(each.id), each.id) for each in found.iterations]
    lines = (line for line in _lines(found) if everything or line.likeness is not Likeness.SAME)
    show(lines, tuple(columns), as_json=False, limit=0)


def _lines(found: Comparison) -> Iterator[_Line]:
    for family, rows in (("params", found.parameters), ("tags", found.tags)):
        for row in rows:
            yield _Line(name=f"{family}.{row.name}", likeness=row.likeness, values=row.values)
    for metric in found.metrics:
        for aggregate, best in (("last", None), ("min", metric.lowest), ("max", metric.highest)):
            values = {each: getattr(summary, aggregate) for each, summary in metric.values.items()}
            yield _Line(
                name=f"metrics.{metric.name}.{aggregate}",
                likeness=_likeness(values, metric.likeness),
                values=values,
                best=best,
            )
    for family, rows in (("datasets", found.datasets), ("environment", found.environment)):
        for row in rows:
            yield _Line(name=f"{family}.{row.name}", likeness=row.likeness, values=row.values)


def _likeness(values: dict[UUID, Any], of_the_last: Likeness) -> Likeness:
    if of_the_last is Likeness.MISSING:
        return Likeness.MISSING
    return Likeness.SAME if len(set(values.values())) == 1 else Likeness.DIFFER


def _column(title: str, iteration: UUID) -> Column[_Line]:
    def exact(row: _Line) -> str:
        match row.values.get(iteration):
            case None:
                return "null" if iteration in row.values else ""
            case str() as text:
                return text
            case other:
                return msgspec.json.encode(other).decode()

    return Column(title, exact, lambda row: exact(row) + (" *" if row.best == iteration else ""))
