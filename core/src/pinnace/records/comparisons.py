"""Several iterations side by side."""

from typing import Any
from uuid import UUID

from pinnace.records.iterations import Iteration
from pinnace.records.metrics import MetricSummary, MetricValue
from pinnace.records.models import Likeness
from pinnace.records.record import Record

#: How many iterations are compared at a time.
MAX_COMPARED = 50


class Compared(Record, frozen=True, kw_only=True):
    """One name and its values by iteration; one that has none is left out. MISSING: some have none."""

    name: str
    likeness: Likeness
    values: dict[UUID, Any]


class ComparedMetric(Record, frozen=True, kw_only=True):
    """As Compared, by the last value."""

    name: str
    likeness: Likeness
    values: dict[UUID, MetricSummary]
    #: Which has the lowest `min` and which the highest `max`, the first of equals; None when all values are NaN.
    lowest: UUID | None
    highest: UUID | None


class Comparison(Record, frozen=True, kw_only=True):
    """GET /comparison: the iterations as they were asked for, and all that they have by name."""

    iterations: tuple[Iteration, ...]
    parameters: tuple[Compared, ...]
    metrics: tuple[ComparedMetric, ...]
    tags: tuple[Compared, ...]
    #: Digests by `consumed NAME` and `produced NAME`.
    datasets: tuple[Compared, ...]
    #: By dotted names: `packages.numpy`.
    environment: tuple[Compared, ...]


class AlignedMetric(Record, frozen=True, kw_only=True):
    """One metric of several iterations along the same steps: null where an iteration has no point."""

    key: str
    steps: tuple[int, ...]
    values: dict[UUID, tuple[MetricValue | None, ...]]


class AlignedMetrics(Record, frozen=True, kw_only=True):
    """GET /comparison/curves: keys as they were asked for."""

    items: tuple[AlignedMetric, ...]
