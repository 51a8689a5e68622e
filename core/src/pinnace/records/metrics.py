"""Metrics: series of numbers by step."""

import math
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from pinnace.records.record import Page, Record

#: Limit of one request to the API.
MAX_POINTS_PER_REQUEST = 10_000

MetricKey = Annotated[str, Meta(min_length=1, max_length=250)]
#: JSON has no NaN and no infinities, so these three travel as their names.
MetricValue = float | str


class MetricSummary(Record, frozen=True, kw_only=True):
    """One metric of one iteration: the value at the highest step, and the extremes without NaN (None: only NaN)."""

    last: MetricValue
    last_step: int
    min: MetricValue | None
    max: MetricValue | None
    count: int


class MetricPoint(Record, frozen=True, kw_only=True):
    """One value of one metric. (key, step, source, offset) identifies it within its iteration."""

    key: MetricKey
    step: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    value: MetricValue
    time: datetime | None = None
    #: What wrote it, `<pod uid>:<file>` for a tailed file; with `offset` it tells a repeated send from a new point.
    source: Annotated[str, Meta(max_length=4200)] = ""
    #: Byte offset of the line in its file.
    offset: Annotated[int, Meta(ge=0)] = 0


class MetricBatch(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/metrics: all or nothing; points that are there already are left alone."""

    points: Annotated[tuple[MetricPoint, ...], Meta(max_length=MAX_POINTS_PER_REQUEST)]


class MetricReceipt(Record, frozen=True, kw_only=True):
    """Answer to a MetricBatch: how many points were new, and how many were there already."""

    added: int
    present: int


class MetricPage(Page, frozen=True, kw_only=True):
    items: tuple[MetricPoint, ...]


def metric_value_to_wire(value: float) -> MetricValue:
    """`value` as JSON can carry it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def metric_value_from_wire(value: MetricValue) -> float:
    """The float behind a wire value. Raises ValueError for any other text."""
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise ValueError(f'a metric value is a number, "NaN", "Infinity" or "-Infinity", not {value!r}')
        return float(value)
    return value
