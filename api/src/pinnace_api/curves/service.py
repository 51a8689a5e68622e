"""What a curve shows of a series."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pinnace.records import MAX_CURVES, MAX_POINTS_OF_CURVES, Axis, Curve, Curves
from pinnace_api.curves import queries
from pinnace_api.curves.downsampling import choose, cut, joined
from pinnace_api.curves.queries import Bounds, Metric, Series, Sought
from pinnace_api.database import Connection, Database
from pinnace_api.iterations import queries as iterations
from pinnace_api.metrics.queries import value_of
from pinnace_api.metrics.summary import Point
from pinnace_api.metrics.tables import NO_TIME
from pinnace_api.refusals import Invalid
from pinnace_api.values import check_text, microseconds, moment_of


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of a series is shown, and how. The ends of ranges are in them."""

    points: int
    axis: Axis = Axis.STEP
    from_step: int | None = None
    to_step: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def get(database: Database, of: Sequence[UUID], keys: Sequence[str], view: View) -> Curves:
    """Each key of each iteration, in this order; without points where there is no such metric.

    Raises Invalid for too many, IterationNotFound.
    """
    for key in keys:
        check_text(key, "keys")
    number = len(of) * len(keys)
    if number > MAX_CURVES:
        raise Invalid(f"these are {number} curves, and at most {MAX_CURVES} come at a time", field="keys")
    if number * view.points > MAX_POINTS_OF_CURVES:
        raise Invalid(f"at most {MAX_POINTS_OF_CURVES} points come at a time", field="points")
    bounds = _bounds(view)
    with database.read() as connection:
        for iteration in of:
            iterations.check_exists(connection, iteration)
        metrics = queries.metrics(connection, of, keys)
        found = [
            _curve(connection, metrics[iteration, key], bounds, view, key=key, iteration=iteration)
            if (iteration, key) in metrics
            else Curve(iteration_id=iteration, key=key, count=0, steps=(), values=())
            for iteration in of
            for key in keys
        ]
    return Curves(items=tuple(found))


def sample(connection: Connection, series: Series, points: int) -> tuple[list[Point], int]:
    """About so many points of the series, and how many it has."""
    head = queries.head(connection, series, points + 1)
    if len(head) <= points:
        return head, len(head)
    last = queries.last(connection, series)
    pieces = queries.measure(connection, series, cut(head[0].step, last.step, points))
    choice = choose(pieces)
    kept = queries.find_extremes(connection, series, choice.extremes)
    for sought in Sought:
        kept += queries.find_odd(connection, series, sought, choice.odd)
    return joined([head[0], *kept, last]), sum(piece.number for piece in pieces)


def _bounds(view: View) -> Bounds:
    since = None if view.since is None else microseconds(view.since, "since")
    until = None if view.until is None else microseconds(view.until, "until")
    if since is None and (until is not None or view.axis is not Axis.STEP):
        since = NO_TIME + 1
    return Bounds(from_step=view.from_step, to_step=view.to_step, since=since, until=until)


def _curve(connection: Connection, metric: Metric, bounds: Bounds, view: View, *, iteration: UUID, key: str) -> Curve:
    points, count = sample(connection, Series(metric, bounds), view.points)
    times: tuple[datetime, ...] = ()
    seconds: tuple[float, ...] = ()
    if view.axis is Axis.TIME:
        times = tuple(moment_of(point.time) for point in points)
    if view.axis is Axis.RELATIVE and points:
        start = queries.start(connection, metric)
        seconds = tuple((point.time - start) / 1_000_000 for point in points)
    return Curve(
        iteration_id=iteration,
        key=key,
        count=count,
        steps=tuple(point.step for point in points),
        values=tuple(value_of(point.value) for point in points),
        times=times,
        seconds=seconds,
    )
