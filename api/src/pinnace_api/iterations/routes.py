"""/iterations, and those of an experiment"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import (
    Environment,
    Heartbeat,
    HeartbeatReceipt,
    Iteration,
    IterationPage,
    IterationPatch,
    IterationWrite,
    ProjectRole,
    Shown,
    Subtree,
)
from pinnace_api.access import Access, check_description
from pinnace_api.database import Database
from pinnace_api.identity import Caller
from pinnace_api.iterations import search, service
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.requests import FilterQuery, OrderQuery, ShownQuery, TotalQuery


@put(
    "/iterations/{iteration_id:uuid}",
    operation_id="put_iteration",
    summary="Create an iteration or bring it forward",
    tags=["iterations"],
    responses=created(Iteration) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_iteration(
    iteration_id: FromPath[UUID],
    data: JSONBody[IterationWrite],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
) -> Response[Iteration]:
    """PENDING and RUNNING may alternate; SUCCEEDED, FAILED and KILLED are final. A parameter is set once; more may join
    until the end. A time that is left out stays as it is.

    With an `index`, the id must be its UUIDv5 in the experiment's name space. Without one, any UUID is the id, and the
    API gives the next number of the experiment.
    """
    access.check_reference(caller, "experiment_id", data.experiment_id, ProjectRole.EDITOR)
    with access.hiding(caller, "iteration_id", iteration_id, ProjectRole.EDITOR):
        iteration, is_new = service.put(database, iteration_id, data, by=str(caller), by_part=caller.is_part)
    return Response(iteration, status_code=201 if is_new else 200)


@patch(
    "/iterations/{iteration_id:uuid}",
    operation_id="patch_iteration",
    summary="Edit an iteration",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 409, 410, 413, 422, 503),
    sync_to_thread=True,
)
def patch_iteration(
    iteration_id: FromPath[UUID],
    data: JSONBody[IterationPatch],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    override: Annotated[bool, QueryParameter(description="Let parameters change that are set")] = False,
) -> Iteration:
    """A JSON merge patch. When it has ended, only name, notes, tags, parent and lifecycle can still change. A pod may
    edit the tags and notes of its own iteration.
    """
    check_description(caller, data)
    return service.patch(database, iteration_id, data, override=override, by_part=caller.is_part)


@delete(
    "/iterations/{iteration_id:uuid}",
    operation_id="trash_iteration",
    summary="Put an iteration into the trash",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def trash_iteration(iteration_id: FromPath[UUID], database: NamedDependency[Database]) -> None:
    """Those below it stay. `PATCH {"lifecycle": "ACTIVE"}` takes it back. Sending it again changes nothing."""
    service.trash(database, iteration_id)


@put(
    "/iterations/{iteration_id:uuid}/heartbeat",
    operation_id="put_heartbeat",
    summary="Say that an iteration lives",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 413, 422, 503),
    sync_to_thread=True,
)
def put_heartbeat(
    iteration_id: FromPath[UUID], data: JSONBody[Heartbeat], database: NamedDependency[Database]
) -> HeartbeatReceipt:
    """One that RUNNING iterations have given stands until `lease_seconds` have passed; then they are LOST, until the
    next one. The answer says what the iteration is now.
    """
    return service.beat(database, iteration_id, data)


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
    "/iterations/{iteration_id:uuid}/environment",
    operation_id="get_environment",
    summary="What an iteration ran in",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_environment(iteration_id: FromPath[UUID], database: NamedDependency[Database]) -> Environment:
    return service.environment(database, iteration_id)


@get(
    "/iterations/{iteration_id:uuid}/children",
    operation_id="list_children",
    summary="The iterations right below one, by index",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_children(
    iteration_id: FromPath[UUID],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> IterationPage:
    return service.children(database, iteration_id, lifecycle, cut)


@get(
    "/iterations/{iteration_id:uuid}/subtree",
    operation_id="get_subtree",
    summary="An iteration with all below it, and what they come to",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_subtree(
    iteration_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> Subtree:
    """Those in the trash are left out. The sums are over all of them, whatever the page holds."""
    return service.subtree(database, iteration_id, cut)


@get(
    "/experiments/{experiment_id:uuid}/iterations",
    operation_id="list_iterations",
    summary="An experiment's iterations by index",
    tags=["iterations"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_iterations(
    experiment_id: FromPath[UUID],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> IterationPage:
    return service.page(database, experiment_id, lifecycle, cut)


@get(
    "/iterations",
    operation_id="search_iterations",
    summary="The iterations that the caller may see and that match a filter, in any order",
    tags=["iterations"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def search_iterations(
    *,
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    caller: NamedDependency[Caller],
    project: Annotated[str | None, QueryParameter(max_length=100, description="Of this project only")] = None,
    experiment: Annotated[UUID | None, QueryParameter(description="Of the experiment of this id only")] = None,
    filter_: FilterQuery = "",
    order_by: OrderQuery = "",
    total: TotalQuery = False,
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> IterationPage:
    """Without `order_by` the newest first. What has no value to sort by comes last in both directions; ties are sorted
    by id. A page goes on behind the one before, whatever was added or taken away meanwhile. The best one is the first
    by `metrics.accuracy.max desc`, the last one the first by `created_at desc`, mine are `created_by = me`.
    """
    wanted = search.Wanted(project=project, experiment=experiment, filter=filter_, order_by=order_by, shown=lifecycle)
    return search.page(database, wanted, caller, cut, total=total)


ROUTES = (
    search_iterations,
    put_iteration,
    patch_iteration,
    trash_iteration,
    put_heartbeat,
    get_iteration,
    get_environment,
    list_children,
    get_subtree,
    list_iterations,
)
