"""Single points and whole series of metrics in SQL: finding, changing, deleting; and the steps that the API chose."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, select, tuple_, update

from pinnace.records import MetricSeries, MetricSeriesPage
from pinnace_api import in_lists, paging
from pinnace_api.metrics.queries import summary_of
from pinnace_api.metrics.steps import Origin
from pinnace_api.metrics.summary import Point
from pinnace_api.metrics.tables import METRIC_AUTO_STEPS, METRIC_POINTS, METRICS
from pinnace_api.paging import Cut, Order
from pinnace_api.tables import insert_missing

_ORDER = Order(columns=(METRICS.c.key,), key=tuple[str])
_ORIGIN = tuple_(METRIC_AUTO_STEPS.c.metric_id, METRIC_AUTO_STEPS.c.source_id, METRIC_AUTO_STEPS.c.offset)
#: How many origins one IN list takes at a time: each is three values.
_ORIGINS = 200


def chosen_steps(connection: Connection, origins: Collection[Origin]) -> dict[Origin, int]:
    """The steps that were chosen for those of them that came before."""
    wanted = sorted(origins)
    found: dict[Origin, int] = {}
    for part in in_lists.parts(wanted, _ORIGINS):
        statement = select(METRIC_AUTO_STEPS).where(_ORIGIN.in_(part))
        for row in connection.execute(statement):
            found[row.metric_id, row.source_id, row.offset] = row.step
    return found


def keep_steps(connection: Connection, chosen: Mapping[Origin, int]) -> None:
    rows = [
        {"metric_id": metric, "source_id": source, "offset": offset, "step": step}
        for (metric, source, offset), step in sorted(chosen.items())
    ]
    insert_missing(connection, METRIC_AUTO_STEPS, rows)


def point(connection: Connection, metric: int, step: int, source: int, offset: int) -> Point | None:
    row = connection.execute(select(METRIC_POINTS).where(*_place(metric, step, source, offset))).one_or_none()
    return None if row is None else Point(row.step, row.time, row.source_id, row.offset, row.value)


def set_point(connection: Connection, metric: int, point: Point) -> None:
    """Give the point that is there this time and value."""
    connection.execute(
        update(METRIC_POINTS)
        .where(*_place(metric, point.step, point.source, point.offset))
        .values(time=point.time, value=point.value)
    )


def delete_points(connection: Connection, metric: int, step: int | None) -> None:
    """All of a metric, or those of one step."""
    for table in (METRIC_POINTS, METRIC_AUTO_STEPS):
        statement = delete(table).where(table.c.metric_id == metric)
        connection.execute(statement if step is None else statement.where(table.c.step == step))


def clear_summary(connection: Connection, metric: int) -> None:
    """Of a metric that has no points any more."""
    connection.execute(update(METRICS).where(METRICS.c.id == metric).values(points=0, low=None, high=None))


def series(connection: Connection, iteration: UUID, cut: Cut) -> MetricSeriesPage:
    statement = select(METRICS).where(METRICS.c.iteration_id == iteration, METRICS.c.points > 0)
    part = paging.fetch(connection, statement, _ORDER, cut)
    items = tuple(MetricSeries(key=row.key, summary=summary_of(row)) for row in part.rows)
    return MetricSeriesPage(items=items, next=part.next)


def _place(metric: int, step: int, source: int, offset: int) -> tuple[Any, ...]:
    points = METRIC_POINTS.c
    return points.metric_id == metric, points.step == step, points.source_id == source, points.offset == offset
