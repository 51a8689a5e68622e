"""/iterations, and those of an experiment"""

from uuid import UUID

from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import Iteration, IterationPage, IterationWrite
from pinnace_api.database import Database
from pinnace_api.iterations import service
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut


@put(
    "/iterations/{iteration_id:uuid}",
    operation_id="put_iteration",
    summary="Create an iteration or bring it forward",
    tags=["iterations"],
    responses=created(Iteration) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_iteration(
    iteration_id: FromPath[UUID], data: JSONBody[IterationWrite], database: NamedDependency[Database]
) -> Response[Iteration]:
    """PENDING and RUNNING may alternate; SUCCEEDED and FAILED are final. A parameter is set once; more may join.

    A time that is left out stays as it is. The id must be the UUIDv5 of the index in the experiment's name space.
    """
    iteration, is_new = service.put(database, iteration_id, data)
    return Response(iteration, status_code=201 if is_new else 200)


@get(
    "/iterations/{iteration_id:uuid}",
    operation_id="get_iteration",
    summary="One iteration with a summary of its metrics",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_iteration(iteration_id: FromPath[UUID], database: NamedDependency[Database]) -> Iteration:
    return service.get(database, iteration_id)


@get(
    "/experiments/{experiment_id:uuid}/iterations",
    operation_id="list_iterations",
    summary="An experiment's iterations by index",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_iterations(
    experiment_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> IterationPage:
    return service.page(database, experiment_id, cut)


ROUTES = (put_iteration, get_iteration, list_iterations)
