"""Metrics in SQL."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, Text, bindparam, cast, func, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY

from pinnace.records import MetricPoint, MetricSummary, MetricValue, metric_value_to_wire
from pinnace_api import in_lists, paging
from pinnace_api.metrics.summary import Point, Summary
from pinnace_api.metrics.tables import METRIC_POINTS, METRIC_SOURCES, METRICS, NO_TIME
from pinnace_api.paging import Cut, Number
from pinnace_api.tables import insert_missing
from pinnace_api.values import moment_of

_OF_ITERATION = select(METRICS).where(METRICS.c.iteration_id == bindparam("iteration")).with_for_update(key_share=True)
_METRICS = _OF_ITERATION.where(METRICS.c.key.in_(bindparam("keys", expanding=True))).order_by(METRICS.c.id)
_METRIC = _OF_ITERATION.where(METRICS.c.key == bindparam("key"))
_OF_SOURCES = select(METRIC_SOURCES.c.id, METRIC_SOURCES.c.digest).where(
    METRIC_SOURCES.c.iteration_id == bindparam("iteration")
)
_SOURCES = _OF_SOURCES.where(METRIC_SOURCES.c.digest.in_(bindparam("digests", expanding=True)))
_SOURCE = _OF_SOURCES.where(METRIC_SOURCES.c.digest == bindparam("digest"))
_SUMMARIES = (
    select(METRICS)
    .where(METRICS.c.iteration_id.in_(bindparam("iterations", expanding=True)), METRICS.c.points > 0)
    .order_by(METRICS.c.key)
)
_SUMMARY_COLUMNS = ("points", "low", "high", "last_step", "last_time", "last_source", "last_offset", "last_value")
_SET_SUMMARY = (
    update(METRICS)
    .where(METRICS.c.id == bindparam("metric"))
    .values({name: bindparam(f"new_{name}") for name in _SUMMARY_COLUMNS})
)

#: The columns of a point, in the order of `Point`.
_POINT = ("metric_id", "step", "time", "source_id", "offset", "value")
#: A statement for each row costs PostgreSQL and its driver a multiple; each column comes as one text instead.
_ARRAYS = func.unnest(
    *(cast(bindparam(name, type_=Text), ARRAY(METRIC_POINTS.c[name].type)) for name in _POINT)
).table_valued(*_POINT)
_ADD_ARRAYS = (
    postgresql.insert(METRIC_POINTS)
    .from_select(_POINT, select(_ARRAYS.render_derived()))
    .on_conflict_do_nothing()
    .execution_options(preserve_rowcount=True)
)

_Position = tuple[str, Number, Number, Number, Number]


def metrics_for_update(
    connection: Connection, iteration: UUID, keys: Collection[str]
) -> dict[str, tuple[int, Summary | None]]:
    """The id and summary (None: it has no points yet) of each key; those that aren't there are added.

    Held until the transaction ends, in the order of their ids, so that two of them never wait for each other.
    """
    found = _metrics(connection, iteration, keys)
    if missing := sorted(set(keys) - set(found)):
        blank = {
            "iteration_id": iteration,
            "points": 0,
            "low": None,
            "high": None,
            "last_step": 0,
            "last_time": NO_TIME,
            "last_source": 0,
            "last_offset": 0,
            "last_value": None,
        }
        insert_missing(connection, METRICS, [{**blank, "key": key} for key in missing])
        found = _metrics(connection, iteration, keys)
    return found


def sources(connection: Connection, iteration: UUID, names: Collection[str]) -> dict[str, int]:
    """The number of each source; those that aren't there are added."""
    digests = {hashlib.sha256(name.encode()).hexdigest(): name for name in names}
    found = _sources(connection, iteration, digests)
    if missing := {digest: name for digest, name in sorted(digests.items()) if name not in found}:
        rows = [{"iteration_id": iteration, "digest": digest, "source": name} for digest, name in missing.items()]
        insert_missing(connection, METRIC_SOURCES, rows)
        found |= _sources(connection, iteration, missing)
    return found


def add_points(connection: Connection, points: Mapping[int, Sequence[Point]]) -> int:
    """Add points by metric; returns how many weren't there yet."""
    rows = [(metric, *point) for metric in sorted(points) for point in points[metric]]
    if rows and connection.dialect.name == "postgresql":
        columns = zip(_POINT, zip(*rows, strict=True), strict=True)
        return connection.execute(_ADD_ARRAYS, {name: _array(values) for name, values in columns}).rowcount
    return insert_missing(connection, METRIC_POINTS, [dict(zip(_POINT, row, strict=True)) for row in rows])


def count_again(connection: Connection, metrics: Collection[int]) -> dict[int, Summary]:
    """Summaries from the points themselves."""
    points = METRIC_POINTS.c
    statement = (
        select(points.metric_id, func.count(), func.min(points.value), func.max(points.value))
        .where(points.metric_id.in_(bindparam("metrics", expanding=True)))
        .group_by(points.metric_id)
    )
    rows = _in_parts(connection, statement, {}, "metrics", sorted(metrics))
    return {metric: Summary(number, low, high, _last(connection, metric)) for metric, number, low, high in rows}


def set_summaries(connection: Connection, summaries: Mapping[int, Summary]) -> None:
    rows = [
        {
            "metric": metric,
            "new_points": summary.points,
            "new_low": summary.low,
            "new_high": summary.high,
            "new_last_step": summary.last.step,
            "new_last_time": summary.last.time,
            "new_last_source": summary.last.source,
            "new_last_offset": summary.last.offset,
            "new_last_value": summary.last.value,
        }
        for metric, summary in sorted(summaries.items())
        if summary.last is not None
    ]
    if rows:
        connection.execute(_SET_SUMMARY, rows)


def summaries(connection: Connection, iterations: Collection[UUID]) -> dict[UUID, dict[str, MetricSummary]]:
    """By iteration and key, for a whole page of iterations at once."""
    found: dict[UUID, dict[str, MetricSummary]] = {}
    for row in _in_parts(connection, _SUMMARIES, {}, "iterations", list(iterations)):
        found.setdefault(row.iteration_id, {})[row.key] = summary_of(row)
    return found


def summary_of(row: Any) -> MetricSummary:
    """Of a row of metrics that has points."""
    return MetricSummary(
        last=value_of(row.last_value),
        last_step=row.last_step,
        min=None if row.low is None else metric_value_to_wire(row.low),
        max=None if row.high is None else metric_value_to_wire(row.high),
        count=row.points,
    )


def page(
    connection: Connection, iteration: UUID, key: str | None, cut: Cut
) -> tuple[tuple[MetricPoint, ...], str | None]:
    """Points by (key, step, time, source, offset), and the next cursor.

    In two steps, the rest of the series in which the page before ended and then the following ones, because each
    alone runs along an index.
    """
    position = cut.position(_Position)
    whole = _series(iteration).order_by(METRICS.c.key, *_order())
    rows: list[Any] = []
    if position is not None:
        at, *place = position
        step, *rest = _order()
        reached = tuple_(*(literal(part, column.type) for part, column in zip(place, _order(), strict=True)))
        begun = _series(iteration).where(METRICS.c.key == at, step >= place[0], tuple_(step, *rest) > reached)
        rows += connection.execute(begun.order_by(*_order()).limit(cut.limit + 1))
        whole = whole.where(METRICS.c.key > at)
    if key is not None:
        rows = [row for row in rows if row.key == key]
        whole = whole.where(METRICS.c.key == key)
    if len(rows) <= cut.limit:
        rows += connection.execute(whole.limit(cut.limit + 1 - len(rows)))
    following = None
    if len(rows) > cut.limit:
        rows = rows[: cut.limit]
        end = rows[-1]
        following = paging.cursor((end.key, end.step, end.time, end.source_id, end.offset))
    return tuple(_point(row) for row in rows), following


def _metrics(connection: Connection, iteration: UUID, keys: Collection[str]) -> dict[str, tuple[int, Summary | None]]:
    found: dict[str, tuple[int, Summary | None]] = {}
    if len(keys) == 1:  # a list costs half as much again as the look-up
        rows = connection.execute(_METRIC, {"iteration": iteration, "key": next(iter(keys))}).all()
    else:
        rows = _in_parts(connection, _METRICS, {"iteration": iteration}, "keys", sorted(keys))
    for row in rows:
        last = Point(row.last_step, row.last_time, row.last_source, row.last_offset, row.last_value)
        found[row.key] = (row.id, Summary(row.points, row.low, row.high, last) if row.points else None)
    return found


def _sources(connection: Connection, iteration: UUID, digests: Mapping[str, str]) -> dict[str, int]:
    if len(digests) == 1:
        rows = connection.execute(_SOURCE, {"iteration": iteration, "digest": next(iter(digests))}).all()
    else:
        rows = _in_parts(connection, _SOURCES, {"iteration": iteration}, "digests", list(digests))
    return {digests[row.digest]: row.id for row in rows}


def _last(connection: Connection, metric: int) -> Point:
    points = METRIC_POINTS.c
    statement = (
        select(points.step, points.time, points.source_id, points.offset, points.value)
        .where(points.metric_id == metric)
        .order_by(*(column.desc() for column in _order()))
        .limit(1)
    )
    return Point(*connection.execute(statement).one())


def _series(iteration: UUID) -> Select[Any]:
    return (
        select(METRIC_POINTS, METRICS.c.key, METRIC_SOURCES.c.source)
        .join_from(METRICS, METRIC_POINTS)
        .join(METRIC_SOURCES)
        .where(METRICS.c.iteration_id == iteration)
    )


def _order() -> tuple[Any, Any, Any, Any]:
    return METRIC_POINTS.c.step, METRIC_POINTS.c.time, METRIC_POINTS.c.source_id, METRIC_POINTS.c.offset


def _array(values: Iterable[float | None]) -> str:
    """Numbers as PostgreSQL writes an array of them; a float's shortest text means the same one there."""
    return f"{{{','.join('NULL' if value is None else repr(value) for value in values)}}}"


def _in_parts(
    connection: Connection, statement: Select[Any], fixed: Mapping[str, Any], name: str, values: Sequence[Any]
) -> list[Any]:
    """The rows for all `values` of the list parameter `name`, some at a time."""
    rows: list[Any] = []
    for part in in_lists.parts(values):
        rows += connection.execute(statement, {**fixed, name: part})
    return rows


def _point(row: Any) -> MetricPoint:
    return MetricPoint(
        key=row.key,
        step=row.step,
        value=value_of(row.value),
        time=None if row.time == NO_TIME else moment_of(row.time),
        source=row.source,
        offset=row.offset,
    )


def value_of(value: float | None) -> MetricValue:
    """A stored value as it travels."""
    return "NaN" if value is None else metric_value_to_wire(value)
