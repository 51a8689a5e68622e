"""Searching iterations in SQL."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Select, func

from pinnace import ids
from pinnace.records import Iteration, Shown, metric_value_from_wire, metric_value_to_wire
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.filters.compiling import Compiler, Key
from pinnace_api.filters.expression import Expression, Family, Field, Term
from pinnace_api.iterations import queries
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.iterations.vocabulary import COLUMNS
from pinnace_api.paging import Cut, Order, cursor
from pinnace_api.refusals import Invalid

_NEWEST_FIRST: Final = (Term(Field(Family.ATTRIBUTE, ("created_at",)), descending=True),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which iterations, in which order (none: the newest first)."""

    project: str | None = None
    experiment: UUID | None = None
    expression: Expression | None = None
    order: tuple[Term, ...] = ()
    shown: Shown = Shown.ACTIVE
    #: The projects that may be shown; None: all.
    visible: Collection[UUID] | None = None


def page(connection: Connection, selection: Selection, cut: Cut) -> tuple[tuple[Iteration, ...], str | None]:
    """Iterations without their metrics, and the next cursor, which is good for the same order only."""
    compiler = compiler_for(connection)
    order = selection.order or _NEWEST_FIRST
    keys = [key for term in order for key in compiler.keys(term)]
    keys.append(Key(ITERATIONS.c.id, UUID, order[0].descending))
    mark = hashlib.sha256(msgspec.json.encode(order)).hexdigest()[:8]
    columns = [key.column.label(f"key_{place}") for place, key in enumerate(keys)]
    statement = _matching(compiler, queries.listed(selection.shown).add_columns(*columns), selection)
    listed = Order(
        columns=tuple(key.column for key in keys),
        key=tuple.__class_getitem__((str, *(key.type for key in keys))),
        descending=tuple(key.descending for key in keys),
    )
    position = cut.position(listed.key)
    if position is not None:
        if position[0] != mark:
            raise Invalid("this is a cursor of another order", field="after", hint="pass `next` as it came")
        statement = statement.where(
            listed.behind([_from_cursor(part, key) for part, key in zip(position[1:], keys, strict=True)])
        )
    ordered = statement.order_by(
        *(column.desc() if key.descending else column for column, key in zip(columns, keys, strict=True))
    )
    rows = connection.execute(ordered.limit(cut.limit + 1)).all()
    following = None
    if len(rows) > cut.limit:
        rows = rows[: cut.limit]
        following = cursor((mark, *(_to_cursor(part) for part in rows[-1][-len(keys) :])))
    return tuple(queries.record(row) for row in rows), following


def count(connection: Connection, selection: Selection) -> int:
    """How many there are on all pages."""
    found = queries.listed(selection.shown).with_only_columns(func.count(), maintain_column_froms=True)
    number: int = connection.execute(_matching(compiler_for(connection), found, selection)).scalar_one()
    return number


def compiler_for(connection: Connection) -> Compiler:
    """For statements that join iterations, experiments and projects."""
    return Compiler(
        sqlite=connection.dialect.name == "sqlite",
        attributes=COLUMNS,
        documents={Family.PARAMETER: ITERATIONS.c.parameters, Family.TAG: ITERATIONS.c.tags},
        metrics_of=ITERATIONS.c.id,
    )


def _matching(compiler: Compiler, statement: Select[Any], selection: Selection) -> Select[Any]:
    if selection.visible is not None:
        statement = statement.where(EXPERIMENTS.c.project_id.in_(selection.visible))
    if selection.project is not None:
        statement = statement.where(EXPERIMENTS.c.project_id == ids.project_id(selection.project))
    if selection.experiment is not None:
        statement = statement.where(ITERATIONS.c.experiment_id == selection.experiment)
    if selection.expression is not None:
        statement = statement.where(compiler.condition(selection.expression))
    return statement


def _to_cursor(part: Any) -> Any:
    return metric_value_to_wire(part) if isinstance(part, float) else part


def _from_cursor(part: Any, key: Key) -> Any:
    """Infinities travel as words."""
    if key.type != float | str:
        return part
    try:
        return float(metric_value_from_wire(part))
    except ValueError:
        raise Invalid("this is not a cursor of this list", field="after", hint="pass `next` as it came") from None
