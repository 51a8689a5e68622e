"""What is read to compare iterations."""

from collections.abc import Sequence
from uuid import UUID

from pinnace.records import (
    MAX_POINTS_OF_CURVES,
    AlignedMetric,
    AlignedMetrics,
    Comparison,
    Iteration,
    MetricValue,
)
from pinnace_api.comparisons.likeness import compared, compared_metrics
from pinnace_api.curves import queries as curves
from pinnace_api.curves.downsampling import parts
from pinnace_api.curves.queries import Bounds, Metric, Series
from pinnace_api.database import Connection, Database
from pinnace_api.datasets import queries as datasets
from pinnace_api.iterations import queries as iterations
from pinnace_api.metrics import queries as metrics
from pinnace_api.model_versions.diff import flat
from pinnace_api.paging import MAX_LIMIT, Cut
from pinnace_api.refusals import Invalid, IterationNotFound
from pinnace_api.values import check_text


def compare(database: Database, of: Sequence[UUID]) -> Comparison:
    """In the order given. Raises IterationNotFound."""
    with database.read() as connection:
        found = [_found(connection, each) for each in of]
        summaries = metrics.summaries(connection, of)
        used = {each: _datasets(connection, each) for each in of}
        environments = {each: flat(iterations.environment(connection, each) or {}) for each in of}
    return Comparison(
        iterations=tuple(iterations.with_metrics(each, summaries) for each in found),
        parameters=compared({each.id: each.parameters for each in found}),
        metrics=compared_metrics({each: summaries.get(each, {}) for each in of}),
        tags=compared({each.id: each.tags for each in found}),
        datasets=compared(used),
        environment=compared(environments),
    )


def align(database: Database, of: Sequence[UUID], keys: Sequence[str], points: int) -> AlignedMetrics:
    """The last value of each in equal parts of the steps of all. Raises Invalid for too many, IterationNotFound."""
    for key in keys:
        check_text(key, "keys")
    if len(of) * len(keys) * points > MAX_POINTS_OF_CURVES:
        raise Invalid(f"at most {MAX_POINTS_OF_CURVES} points come at a time", field="points")
    with database.read() as connection:
        for each in of:
            iterations.check_exists(connection, each)
        found = curves.metrics(connection, of, keys)
        return AlignedMetrics(
            items=tuple(
                _aligned(connection, key, {each: found[each, key] for each in of if (each, key) in found}, points)
                for key in keys
            )
        )


def _aligned(connection: Connection, key: str, side: dict[UUID, Metric], points: int) -> AlignedMetric:
    series = {each: Series(metric, Bounds()) for each, metric in side.items()}
    if not series:
        return AlignedMetric(key=key, steps=(), values={})
    first = min(curves.head(connection, each, 1)[0].step for each in series.values())
    last = max(curves.last(connection, each).step for each in series.values())
    ranges = parts(first, last, points)
    columns = {each: curves.find_last(connection, one, ranges) for each, one in series.items()}
    steps: list[int] = []
    values: dict[UUID, list[MetricValue | None]] = {each: [] for each in columns}
    for row in zip(*columns.values(), strict=True):
        here = [point.step for point in row if point is not None]
        if here:
            steps.append(max(here))
            for column, point in zip(values.values(), row, strict=True):
                column.append(None if point is None else metrics.value_of(point.value))
    return AlignedMetric(key=key, steps=tuple(steps), values={each: tuple(column) for each, column in values.items()})


def _found(connection: Connection, iteration: UUID) -> Iteration:
    found = iterations.find(connection, iteration)
    if found is None:
        raise IterationNotFound(iteration)
    return found


def _datasets(connection: Connection, iteration: UUID) -> dict[str, list[str]]:
    digests: dict[str, list[str]] = {}
    after = None
    while True:
        page = datasets.uses_of_iteration(connection, iteration, Cut(limit=MAX_LIMIT, after=after))
        for use in page.items:
            digests.setdefault(f"{use.role} {use.dataset.name}", []).append(use.dataset.digest)
        if page.next is None:
            return {name: sorted(each) for name, each in digests.items()}
        after = page.next
