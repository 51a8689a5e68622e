"""/iterations/…/metrics"""

from typing import Annotated
from uuid import UUID

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import MetricBatch, MetricPage, MetricReceipt
from pinnace_api.database import Database
from pinnace_api.metrics import service
from pinnace_api.openapi import refusals
from pinnace_api.paging import Cut


@put(
    "/iterations/{iteration_id:uuid}/metrics",
    operation_id="put_metrics",
    summary="Add points to an iteration's metrics",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 413, 422, 503),
    sync_to_thread=True,
)
def put_metrics(
    iteration_id: FromPath[UUID], data: JSONBody[MetricBatch], database: NamedDependency[Database]
) -> MetricReceipt:
    """All or nothing. A point is known by (key, step, source, offset); one that is there stays as it is.

    NaN and the infinities travel as the strings "NaN", "Infinity" and "-Infinity". A time without an offset is UTC.
    """
    return service.put(database, iteration_id, data)


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


ROUTES = (put_metrics, list_metrics)
