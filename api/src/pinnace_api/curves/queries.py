"""Curves in SQL.

Ranges of steps go into a statement as one JSON document, and what was found in each comes back as one: a thousand
look-ups along the index cost one statement. Numbers that aren't whole travel as text, exactly.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from pinnace_api.curves.downsampling import Extreme, Piece, Steps
from pinnace_api.metrics.summary import Point
from pinnace_api.metrics.tables import METRIC_POINTS, METRICS, NO_TIME

_POINTS: Final = METRIC_POINTS.c
_ORDER: Final = (_POINTS.step, _POINTS.time, _POINTS.source_id, _POINTS.offset)
_ROW: Final = (*_ORDER, _POINTS.value)
#: In which points lie. Of equal values any will do, and along it the first one is found without sorting.
_LIE: Final = (_POINTS.step, _POINTS.source_id, _POINTS.offset)
_IS_FINITE: Final = _POINTS.value.between(-sys.float_info.max, sys.float_info.max)
_METRICS: Final = select(METRICS).where(
    METRICS.c.iteration_id.in_(bindparam("iterations", expanding=True)),
    METRICS.c.key.in_(bindparam("keys", expanding=True)),
    METRICS.c.points > 0,
)


class Sought(StrEnum):
    """What a point may be that has no finite value."""

    NAN = "nan"
    ABOVE = "+inf"
    BELOW = "-inf"


#: What is neither a low nor a high one.
_ODD: Final[dict[Sought, ColumnElement[bool]]] = {
    Sought.NAN: _POINTS.value.is_(None),
    Sought.ABOVE: _POINTS.value == math.inf,
    Sought.BELOW: _POINTS.value == -math.inf,
}
#: The count of points and of finite values, and the extremes.
_MEASURED: Final = msgspec.json.Decoder(tuple[int, int, str | None, str | None])
_FOUND: Final = msgspec.json.Decoder(tuple[int, int, int, int, str | None])


class Metric(NamedTuple):
    """A metric that has points."""

    id: int
    has_infinities: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Which points of a series are meant, the ends among them; None leaves an end open.

    Times are in microseconds since 1970. Where one is given, points without a time are none of those meant.
    """

    from_step: int | None = None
    to_step: int | None = None
    since: int | None = None
    until: int | None = None

    @property
    def timely(self) -> ColumnElement[bool]:
        bounds: list[ColumnElement[bool]] = [true()]
        if self.since is not None:
            bounds.append(_POINTS.time >= self.since)
        if self.until is not None:
            bounds.append(_POINTS.time <= self.until)
        return and_(*bounds)


class Series(NamedTuple):
    metric: Metric
    bounds: Bounds

    @property
    def condition(self) -> ColumnElement[bool]:
        conditions = [_POINTS.metric_id == self.metric.id, self.bounds.timely]
        if self.bounds.from_step is not None:
            conditions.append(_POINTS.step >= self.bounds.from_step)
        if self.bounds.to_step is not None:
            conditions.append(_POINTS.step <= self.bounds.to_step)
        return and_(*conditions)


def metrics(connection: Connection, iterations: Sequence[UUID], keys: Sequence[str]) -> dict[tuple[UUID, str], Metric]:
    """By iteration and key."""
    rows = connection.execute(_METRICS, {"iterations": iterations, "keys": keys})
    return {(row.iteration_id, row.key): Metric(row.id, math.inf in (row.high, -(row.low or 0.0))) for row in rows}


def start(connection: Connection, metric: Metric) -> int:
    """The time of the first point that has one; there must be one."""
    timed = select(_POINTS.time).where(_POINTS.metric_id == metric.id, _POINTS.time > NO_TIME)
    found: int = connection.execute(timed.order_by(*_ORDER).limit(1)).scalar_one()
    return found


def head(connection: Connection, series: Series, limit: int) -> list[Point]:
    """The first points."""
    rows = connection.execute(select(*_ROW).where(series.condition).order_by(*_ORDER).limit(limit))
    return [Point(*row) for row in rows]


def last(connection: Connection, series: Series) -> Point:
    """There must be one."""
    backwards = [column.desc() for column in _ORDER]
    return Point(*connection.execute(select(*_ROW).where(series.condition).order_by(*backwards).limit(1)).one())


def measure(connection: Connection, series: Series, ranges: Sequence[Steps]) -> list[Piece]:
    """What each range of steps holds, in the order of `ranges`."""
    sql = _Dialect(connection.dialect.name)
    value = case((_IS_FINITE, _POINTS.value)) if series.metric.has_infinities else _POINTS.value
    found = (func.count(), func.count(value), sql.exactly(func.min(value)), sql.exactly(func.max(value)))
    measured = select(sql.array(*found)).where(series.bounds.timely, sql.inside(series.metric))
    pieces: list[Piece] = []
    for steps, text in zip(ranges, _of_each(connection, sql, measured.scalar_subquery(), ranges), strict=True):
        assert text is not None  # a count is never missing
        number, finite, low, high = _MEASURED.decode(text)
        pieces.append(Piece(steps, number, finite, _extreme(low), _extreme(high)))
    return pieces


def find_extremes(connection: Connection, series: Series, places: Sequence[tuple[Steps, Extreme]]) -> list[Point]:
    """The first point in each range of steps that has the very value."""
    sql = _Dialect(connection.dialect.name)
    ranges = [(*steps, extreme.text) for steps, extreme in places]
    found = _find(connection, series, sql, _POINTS.value == sql.ranges.c.value, ranges)
    return [point for point in found if point is not None]


def find_odd(connection: Connection, series: Series, sought: Sought, ranges: Sequence[Steps]) -> list[Point]:
    """The first of each range of steps that has one."""
    found = _find(connection, series, _Dialect(connection.dialect.name), _ODD[sought], ranges)
    return [point for point in found if point is not None]


def find_last(connection: Connection, series: Series, ranges: Sequence[Steps]) -> list[Point | None]:
    """The last of each range of steps."""
    return _find(connection, series, _Dialect(connection.dialect.name), true(), ranges, backwards=True)


class _Dialect:
    """How each database spells JSON; `ranges` is what `_of_each` selects from."""

    def __init__(self, name: str) -> None:
        self._is_sqlite = name == "sqlite"
        document = bindparam("ranges", type_=Text)
        if self._is_sqlite:
            each = func.json_each(document).table_valued("key", "value")
            parts: list[ColumnElement[Any]] = [func.json_extract(each.c.value, f"$[{place}]") for place in range(3)]
        else:
            each = func.jsonb_array_elements(cast(document, JSONB)).table_valued("value", with_ordinality="key")
            each = each.render_derived()
            parts = [each.c.value.op("->>")(place) for place in range(3)]
        start, stop, value = parts
        columns = (
            cast(start, BigInteger).label("start"),
            cast(stop, BigInteger).label("stop"),
            cast(value, Double).label("value"),
        )
        # Materialized, or the document would be read again for every point.
        self.ranges = select(each.c.key, *columns).cte("ranges").prefix_with("MATERIALIZED")

    def inside(self, metric: Metric) -> ColumnElement[bool]:
        """That a point of the metric lies in the range."""
        ranges = self.ranges.c
        return and_(_POINTS.metric_id == metric.id, _POINTS.step >= ranges.start, _POINTS.step < ranges.stop)

    def array(self, *values: ColumnElement[Any]) -> ColumnElement[str]:
        """The values as one JSON text."""
        return cast(func.json_array(*values) if self._is_sqlite else func.jsonb_build_array(*values), Text)

    def exactly(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """A number as a text from which the very same can be read. SQLite says NULL in words."""
        return func.quote(value) if self._is_sqlite else cast(value, Text)


def _find(
    connection: Connection,
    series: Series,
    sql: _Dialect,
    condition: ColumnElement[bool],
    ranges: Sequence[Any],
    *,
    backwards: bool = False,
) -> list[Point | None]:
    """The first point of each of `ranges` that meets the condition, or the last one."""
    if not ranges:
        return []
    order = [column.desc() for column in _ORDER] if backwards else _LIE
    row = sql.array(*_ORDER, sql.exactly(_POINTS.value))
    first = select(row).where(series.bounds.timely, condition, sql.inside(series.metric)).order_by(*order).limit(1)
    return [
        None if text is None else _point(*_FOUND.decode(text))
        for text in _of_each(connection, sql, first.scalar_subquery(), ranges)
    ]


def _point(step: int, time: int, source: int, offset: int, value: str | None) -> Point:
    return Point(step, time, source, offset, _number(value))


def _of_each(connection: Connection, sql: _Dialect, answer: Any, ranges: Sequence[Any]) -> list[str | None]:
    """What `answer` selects for each of `ranges`, in their order."""
    statement = select(sql.ranges.c.key, answer).select_from(sql.ranges)
    rows = connection.execute(statement, {"ranges": msgspec.json.encode(ranges).decode()})
    return [text for _, text in sorted(rows, key=lambda row: int(row[0]))]


def _extreme(text: str | None) -> Extreme | None:
    number = _number(text)
    return None if number is None or text is None else Extreme(number, text)


def _number(text: str | None) -> float | None:
    """SQLite's quote() spells the infinities as numbers that are too large."""
    return None if text is None or text == "NULL" else float(text)
