"""/comparison"""

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from pinnace.records import (
    MAX_COMPARED,
    MAX_CURVE_KEYS,
    MAX_CURVE_POINTS,
    AlignedMetrics,
    Comparison,
    MetricKey,
    ProjectRole,
)
from pinnace_api.access import Access
from pinnace_api.comparisons import service
from pinnace_api.database import Database
from pinnace_api.identity import Caller
from pinnace_api.openapi import refusals

_Iterations = Annotated[
    list[UUID], QueryParameter(min_items=1, max_items=MAX_COMPARED, description="These; to be given several times")
]
_Keys = Annotated[
    list[MetricKey],
    QueryParameter(min_items=1, max_items=MAX_CURVE_KEYS, description="These metrics; may be given several times"),
]


@get(
    "/comparison",
    operation_id="compare_iterations",
    summary="Several iterations side by side: what is the same, what differs, what some lack",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def compare_iterations(
    iterations: _Iterations,
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
) -> Comparison:
    """Of any experiments and projects that the caller may see. 1 and 1.0 differ, and so do null and nothing."""
    return service.compare(database, _visible(iterations, caller, access))


@get(
    "/comparison/curves",
    operation_id="compare_curves",
    summary="Metrics of several iterations along the same steps",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def compare_curves(
    *,
    iterations: _Iterations,
    keys: _Keys,
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
    points: Annotated[int, QueryParameter(ge=2, le=MAX_CURVE_POINTS, description="At most so many steps")] = 1000,
) -> AlignedMetrics:
    """When the steps are no more than `points`, each stands for itself; otherwise equal parts of them do, with the last
    value of each iteration in it and the highest step at which one has a value.
    """
    return service.align(database, _visible(iterations, caller, access), tuple(dict.fromkeys(keys)), points)


def _visible(iterations: Iterable[UUID], caller: Caller, access: Access) -> tuple[UUID, ...]:
    """Each once. Raises NotFound."""
    once = tuple(dict.fromkeys(iterations))
    for iteration in once:
        access.check_reference(caller, "iteration_id", iteration, ProjectRole.VIEWER)
    return once


ROUTES = (compare_iterations, compare_curves)
