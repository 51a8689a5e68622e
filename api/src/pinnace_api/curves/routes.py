"""/curves"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from pinnace.records import (
    MAX_CURVE_ITERATIONS,
    MAX_CURVE_KEYS,
    MAX_CURVE_POINTS,
    Axis,
    Curves,
    MetricKey,
    ProjectRole,
)
from pinnace_api.access import Access
from pinnace_api.curves import service
from pinnace_api.database import Database
from pinnace_api.identity import Caller
from pinnace_api.openapi import refusals

Iterations = Annotated[
    list[UUID],
    QueryParameter(min_items=1, max_items=MAX_CURVE_ITERATIONS, description="Of these; may be given several times"),
]
Keys = Annotated[
    list[MetricKey],
    QueryParameter(min_items=1, max_items=MAX_CURVE_KEYS, description="These metrics; may be given several times"),
]
_Step = Annotated[int | None, QueryParameter(ge=-(2**53), le=2**53, description="The first or last step to show")]
_Time = Annotated[datetime | None, QueryParameter(description="The first or last moment to show")]


@get(
    "/curves",
    operation_id="get_curves",
    summary="Metrics in so many points each, as a picture shows them",
    tags=["metrics"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_curves(
    *,
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
    iterations: Iterations,
    keys: Keys,
    points: Annotated[int, QueryParameter(ge=4, le=MAX_CURVE_POINTS, description="Of each, about")] = 1000,
    x: Annotated[Axis, QueryParameter(description="What the curves are drawn along")] = Axis.STEP,
    from_step: _Step = None,
    to_step: _Step = None,
    since: _Time = None,
    until: _Time = None,
) -> Curves:
    """A series with no more points than asked for comes whole. Of a longer one come the first and the last point, and
    of equal parts of its steps the lowest and the highest; so no peak is lost. Of each part come also the first NaN,
    the first infinity and the first negative one, which may be more points than asked for. Points without a time have
    no place where `x` is another than `step`, nor in a range of time.
    """
    for iteration in iterations:
        access.check_reference(caller, "iteration_id", iteration, ProjectRole.VIEWER)
    view = service.View(points=points, axis=x, from_step=from_step, to_step=to_step, since=since, until=until)
    return service.get(database, tuple(dict.fromkeys(iterations)), tuple(dict.fromkeys(keys)), view)


ROUTES = (get_curves,)
