"""Metrics: series of numbers by step."""

import math
from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

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


class MetricWrite(Record, frozen=True, kw_only=True):
    """One value of one metric. (key, step, source, offset) identifies it within its iteration.

    Without a step it gets the one after the highest of its key, and (key, source, offset) identifies it; then it
    needs a `source`, so that it can be sent again.
    """

    key: MetricKey
    value: MetricValue
    step: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None
    time: datetime | None = None
    #: What wrote it, `<pod uid>:<file>` for a tailed file; with `offset` it tells a repeated send from a new point.
    source: Annotated[str, Meta(max_length=4200)] = ""
    #: Byte offset of the line in its file, or any number that counts up.
    offset: Annotated[int, Meta(ge=0)] = 0


class MetricPoint(MetricWrite, frozen=True, kw_only=True):
    """A point whose step is known."""

    step: Annotated[int, Meta(ge=-(2**53), le=2**53)]


class MetricBatch(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/metrics: all or nothing, in this order; points that are there already are left alone."""

    points: Annotated[tuple[MetricWrite, ...], Meta(max_length=MAX_POINTS_PER_REQUEST)]


class MetricPatch(Record, frozen=True, kw_only=True):
    """PATCH /iterations/{id}/metrics: of the one point that the query names."""

    value: MetricValue | UnsetType = UNSET
    time: datetime | UnsetType | None = UNSET


class MetricSeries(Record, frozen=True, kw_only=True):
    """One key of an iteration's metrics with its summary."""

    key: str
    summary: MetricSummary


class MetricSeriesPage(Page, frozen=True, kw_only=True):
    items: tuple[MetricSeries, ...]


class MetricReceipt(Record, frozen=True, kw_only=True):
    """Answer to a MetricBatch: how many points were new, and how many were there already."""

    added: int
    present: int
    #: The steps of all points in the order sent, if the API chose some of them; empty otherwise.
    steps: tuple[int, ...] = ()


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
