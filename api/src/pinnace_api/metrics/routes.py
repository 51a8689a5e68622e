"""/iterations/…/metrics"""

from typing import Annotated, Final
from uuid import UUID

from litestar import delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import MetricBatch, MetricPage, MetricPatch, MetricPoint, MetricReceipt, MetricSeriesPage
from pinnace_api.database import Database
from pinnace_api.identity import Caller
from pinnace_api.metrics import service
from pinnace_api.openapi import refusals
from pinnace_api.paging import Cut

_MAX_OFFSET: Final = 2**63 - 1
Key = Annotated[str, QueryParameter(min_length=1, max_length=250, description="Of this metric")]
Step = Annotated[int, QueryParameter(ge=-(2**53), le=2**53, description="At this step")]
AnyStep = Annotated[int | None, QueryParameter(ge=-(2**53), le=2**53, description="At this step only")]


@put(
    "/iterations/{iteration_id:uuid}/metrics",
    operation_id="put_metrics",
    summary="Add points to an iteration's metrics",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_metrics(
    iteration_id: FromPath[UUID],
    data: JSONBody[MetricBatch],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
) -> MetricReceipt:
    """All or nothing, in order. A point is known by (key, step, source, offset); one that is there stays as it is.

    A point without a step gets the one after the highest of its key; then (key, source, offset) tells whether it came
    before, so give it a source of your own and count the offset up. NaN and the infinities travel as the strings "NaN",
    "Infinity" and "-Infinity". A time without an offset is UTC.
    """
    return service.put(database, iteration_id, data, by_part=caller.is_part)


@patch(
    "/iterations/{iteration_id:uuid}/metrics",
    operation_id="patch_metric",
    summary="Edit one point",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_metric(
    *,
    iteration_id: FromPath[UUID],
    data: JSONBody[MetricPatch],
    database: NamedDependency[Database],
    key: Key,
    step: Step,
    source: Annotated[str, QueryParameter(max_length=4200, description="What wrote it")] = "",
    offset: Annotated[int, QueryParameter(ge=0, le=_MAX_OFFSET, description="Its offset in there")] = 0,
) -> MetricPoint:
    """A JSON merge patch, while the iteration is open. The query names the point."""
    place = service.Place(key=key, step=step, source=source, offset=offset)
    return service.patch(database, iteration_id, data, place)


@delete(
    "/iterations/{iteration_id:uuid}/metrics",
    operation_id="delete_metrics",
    summary="Delete the points of a key",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 409, 422, 503),
    sync_to_thread=True,
)
def delete_metrics(
    iteration_id: FromPath[UUID], database: NamedDependency[Database], key: Key, step: AnyStep = None
) -> None:
    """Those of one step, or all of them, while the iteration is open. Sending it again changes nothing."""
    service.delete(database, iteration_id, key, step)


@get(
    "/iterations/{iteration_id:uuid}/series",
    operation_id="list_series",
    summary="The keys of an iteration's metrics with their summaries, by key",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_series(
    iteration_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> MetricSeriesPage:
    return service.series(database, iteration_id, cut)


@get(
    "/iterations/{iteration_id:uuid}/metrics",
    operation_id="list_metrics",
    summary="An iteration's points by key, step and time",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_metrics(
    iteration_id: FromPath[UUID],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    key: Annotated[str | None, QueryParameter(max_length=250, description="This metric only")] = None,
) -> MetricPage:
    return service.page(database, iteration_id, key, cut)


ROUTES = (put_metrics, patch_metric, delete_metrics, list_series, list_metrics)
