"""What may be done with metrics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import UNSET

from pinnace.records import (
    MetricBatch,
    MetricPage,
    MetricPatch,
    MetricPoint,
    MetricReceipt,
    MetricSeriesPage,
    MetricValue,
    MetricWrite,
    metric_value_from_wire,
)
from pinnace_api.database import Connection, Database
from pinnace_api.holds import service as holds
from pinnace_api.iterations import queries as iterations
from pinnace_api.metrics import edit_queries, queries
from pinnace_api.metrics.steps import Unnumbered, number
from pinnace_api.metrics.summary import EMPTY, Point, Summary, summarise
from pinnace_api.metrics.tables import NO_TIME
from pinnace_api.paging import Cut
from pinnace_api.refusals import Invalid, IterationNotFound, NotFound
from pinnace_api.values import check_number, check_text, microseconds, moment_of

#: As far as a step goes over the wire.
MAX_STEP: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What names one point of an iteration."""

    key: str
    step: int
    source: str
    offset: int


def put(database: Database, iteration: UUID, batch: MetricBatch, *, by_part: bool = False) -> MetricReceipt:
    """Add the points that aren't there yet: all or nothing, in order, and once however often they are sent.

    A point that is there stays as it is, whatever value it comes with again. `by_part`: one of the system's own parts
    reports what happened, which neither an end nor the trash refuses.
    """
    values = [_checked(point, f"points[{index}]") for index, point in enumerate(batch.points)]
    return database.write(_put, iteration, batch.points, values, by_part)


def patch(database: Database, iteration: UUID, change: MetricPatch, place: Place) -> MetricPoint:
    """Edit one point while the iteration is open. Raises IterationNotFound, NotFound, Ended, Trashed, Invalid."""
    _check_place(place)
    return database.write(_patch, iteration, change, place)


def delete(database: Database, iteration: UUID, key: str, step: int | None) -> None:
    """Delete the points of `key` (of one step, or all) while the iteration is open. None there: nothing changes."""
    check_text(key, "key")
    check_number(step or 0, "step")
    database.write(_delete, iteration, key, step)


def series(database: Database, iteration: UUID, cut: Cut) -> MetricSeriesPage:
    """The keys with their summaries, by key."""
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return edit_queries.series(connection, iteration, cut)


def page(database: Database, iteration: UUID, key: str | None, cut: Cut) -> MetricPage:
    """By (key, step, time)."""
    check_text(key or "", "key")
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        items, following = queries.page(connection, iteration, key, cut)
    return MetricPage(items=items, next=following)


def _put(
    connection: Connection,
    iteration: UUID,
    points: Sequence[MetricWrite],
    values: Sequence[tuple[int, float | None]],
    by_part: bool,
) -> MetricReceipt:
    _check_open(connection, iteration, by_part=by_part)
    metrics = queries.metrics_for_update(connection, iteration, {point.key for point in points})
    sources = queries.sources(connection, iteration, {point.source for point in points})
    unnumbered = [Unnumbered(metrics[each.key][0], sources[each.source], each.offset, each.step) for each in points]
    before = dict(metrics.values())
    steps = _steps(connection, unnumbered, before)
    rows: dict[int, list[Point]] = {}
    for point, step, (time, value) in zip(unnumbered, steps, values, strict=True):
        rows.setdefault(point.metric, []).append(Point(step, time, point.source, point.offset, value))
    added = queries.add_points(connection, rows)
    if added == len(points):
        queries.set_summaries(
            connection, {metric: summarise(before[metric] or EMPTY, new) for metric, new in rows.items()}
        )
    elif added:
        # Which of them were new is known to the database only.
        queries.set_summaries(connection, queries.count_again(connection, rows))
    chose = any(point.step is None for point in points)
    return MetricReceipt(added=added, present=len(points) - added, steps=tuple(steps) if chose else ())


def _steps(connection: Connection, points: Sequence[Unnumbered], before: Mapping[int, Summary | None]) -> list[int]:
    """A step for each. The metrics are held, so nobody else chooses one meanwhile."""
    origins = {(point.metric, point.source, point.offset) for point in points if point.step is None}
    known = edit_queries.chosen_steps(connection, origins) if origins else {}
    highest = {metric: summary.last.step for metric, summary in before.items() if summary and summary.last}
    steps, chosen = number(points, highest, known)
    if chosen:
        for index, step in enumerate(steps):
            if step > MAX_STEP:
                raise Invalid("there is no step left after the highest one", field=f"points[{index}].step")
        edit_queries.keep_steps(connection, chosen)
    return steps


def _patch(connection: Connection, iteration: UUID, change: MetricPatch, place: Place) -> MetricPoint:
    _check_open(connection, iteration)
    metric, _ = queries.metrics_for_update(connection, iteration, {place.key})[place.key]
    source = queries.sources(connection, iteration, {place.source})[place.source]
    stored = edit_queries.point(connection, metric, place.step, source, place.offset)
    if stored is None:
        raise NotFound(f"there is no such point of {place.key!r}", hint="key, step, source and offset name it")
    edition = stored._replace(
        time=stored.time if change.time is UNSET else _time(change.time, "time"),
        value=stored.value if change.value is UNSET else _value(change.value, "value"),
    )
    edit_queries.set_point(connection, metric, edition)
    queries.set_summaries(connection, queries.count_again(connection, [metric]))
    return MetricPoint(
        key=place.key,
        step=place.step,
        source=place.source,
        offset=place.offset,
        value=queries.value_of(edition.value),
        time=None if edition.time == NO_TIME else moment_of(edition.time),
    )


def _delete(connection: Connection, iteration: UUID, key: str, step: int | None) -> None:
    _check_open(connection, iteration)
    holds.check_iteration(connection, iteration)
    metric, _ = queries.metrics_for_update(connection, iteration, {key})[key]
    edit_queries.delete_points(connection, metric, step)
    if left := queries.count_again(connection, [metric]):
        queries.set_summaries(connection, left)
    else:
        edit_queries.clear_summary(connection, metric)


def _check_open(connection: Connection, iteration: UUID, *, by_part: bool = False) -> None:
    """Raise IterationNotFound, Ended or Trashed; the last two never to one of the system's own parts."""
    if by_part:
        iterations.check_exists(connection, iteration)
        return
    standing = iterations.standing(connection, iteration)
    if standing is None:
        raise IterationNotFound(iteration)
    standing.check_open()


def _check_place(place: Place) -> None:
    check_text(place.key, "key")
    check_text(place.source, "source")
    check_number(place.step, "step")
    check_number(place.offset, "offset")


def _checked(point: MetricWrite, field: str) -> tuple[int, float | None]:
    """Time and value as they are stored. Raises Invalid."""
    check_text(point.key, f"{field}.key")
    check_text(point.source, f"{field}.source")
    check_number(point.offset, f"{field}.offset")
    if point.step is None and not point.source:
        raise Invalid(
            "a point without a step needs a source",
            field=f"{field}.source",
            hint="any word of your own; with an offset that counts up, so that it can be sent again",
        )
    return _time(point.time, f"{field}.time"), _value(point.value, f"{field}.value")


def _time(time: datetime | None, field: str) -> int:
    return NO_TIME if time is None else microseconds(time, field)


def _value(value: MetricValue, field: str) -> float | None:
    """None is NaN."""
    try:
        number = metric_value_from_wire(value)
    except ValueError as error:
        raise Invalid(str(error), field=field) from None
    # Plus zero, because SQLite keeps -0.0 as 0.0 and the answer must not depend on the database.
    return None if math.isnan(number) else float(number) + 0.0
