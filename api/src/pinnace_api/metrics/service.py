"""What may be done with metrics."""

import math
from collections.abc import Sequence
from uuid import UUID

from pinnace.records import MetricBatch, MetricPage, MetricPoint, MetricReceipt, metric_value_from_wire
from pinnace_api.database import Connection, Database
from pinnace_api.iterations import queries as iterations
from pinnace_api.metrics import queries
from pinnace_api.metrics.summary import EMPTY, Point, summarise
from pinnace_api.metrics.tables import NO_TIME
from pinnace_api.paging import Cut
from pinnace_api.refusals import Invalid, IterationNotFound
from pinnace_api.values import check_number, check_text, microseconds


def put(database: Database, iteration: UUID, batch: MetricBatch) -> MetricReceipt:
    """Add the points that aren't there yet: all or nothing, and once however often they are sent.

    A point that is there stays as it is, whatever value it comes with again.
    """
    points = [(_checked(point, f"points[{index}]"), point) for index, point in enumerate(batch.points)]
    return database.write(_put, iteration, points)


def page(database: Database, iteration: UUID, key: str | None, cut: Cut) -> MetricPage:
    """By (key, step, time)."""
    check_text(key or "", "key")
    with database.read() as connection:
        if not iterations.exists(connection, iteration):
            raise IterationNotFound(iteration)
        items, following = queries.page(connection, iteration, key, cut)
    return MetricPage(items=items, next=following)


def _put(
    connection: Connection, iteration: UUID, points: Sequence[tuple[tuple[int, float | None], MetricPoint]]
) -> MetricReceipt:
    if not iterations.exists(connection, iteration):
        raise IterationNotFound(iteration)
    metrics = queries.metrics_for_update(connection, iteration, {point.key for _, point in points})
    sources = queries.sources(connection, iteration, {point.source for _, point in points})
    rows: dict[int, list[Point]] = {}
    for (time, value), point in points:
        row = Point(point.step, time, sources[point.source], point.offset, value)
        rows.setdefault(metrics[point.key][0], []).append(row)
    added = queries.add_points(connection, rows)
    if added == len(points):
        before = dict(metrics.values())
        queries.set_summaries(
            connection, {metric: summarise(before[metric] or EMPTY, new) for metric, new in rows.items()}
        )
    elif added:
        # Which of them were new is known to the database only.
        queries.set_summaries(connection, queries.count_again(connection, rows))
    return MetricReceipt(added=added, present=len(points) - added)


def _checked(point: MetricPoint, field: str) -> tuple[int, float | None]:
    """Time and value as they are stored. Raises Invalid."""
    check_text(point.key, f"{field}.key")
    check_text(point.source, f"{field}.source")
    check_number(point.offset, f"{field}.offset")
    try:
        value = metric_value_from_wire(point.value)
    except ValueError as error:
        raise Invalid(str(error), field=f"{field}.value") from None
    time = NO_TIME if point.time is None else microseconds(point.time, f"{field}.time")
    # Plus zero, because SQLite keeps -0.0 as 0.0 and the answer must not depend on the database.
    return time, None if math.isnan(value) else float(value) + 0.0
