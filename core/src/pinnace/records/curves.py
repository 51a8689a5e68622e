"""Curves: a metric's series as a picture shows it, in so many points."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pinnace.records.metrics import MetricValue
from pinnace.records.record import Record

#: Limits of one request for curves.
MAX_CURVE_ITERATIONS = 50
MAX_CURVE_KEYS = 20
MAX_CURVES = 100
MAX_CURVE_POINTS = 10_000
#: Of all curves together.
MAX_POINTS_OF_CURVES = 200_000


class Axis(StrEnum):
    """Along what a curve is drawn."""

    STEP = "step"
    #: The clock. Points without a time have no place on it.
    TIME = "time"
    #: Seconds since the first point of the series that has a time.
    RELATIVE = "relative"


class Curve(Record, frozen=True, kw_only=True):
    """Points of one series in its order; the lists are of the same length, or empty where the axis has no use for one.

    They are all of the range's points when there are no more of them than were asked for: `count` tells.
    """

    iteration_id: UUID
    key: str
    #: How many points the range has.
    count: int
    steps: tuple[int, ...]
    values: tuple[MetricValue, ...]
    times: tuple[datetime, ...] = ()
    seconds: tuple[float, ...] = ()


class Curves(Record, frozen=True, kw_only=True):
    """GET /curves: iterations as they were asked for, of each the keys as they were asked for."""

    items: tuple[Curve, ...]
