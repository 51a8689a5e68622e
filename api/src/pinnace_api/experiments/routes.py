"""/experiments"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import Experiment, ExperimentPage, ExperimentPatch, ExperimentWrite, ProjectRole, Shown
from pinnace_api.access import Access
from pinnace_api.database import Database
from pinnace_api.experiments import service
from pinnace_api.identity import Caller
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.requests import FilterQuery, ShownQuery


@put(
    "/experiments/{experiment_id:uuid}",
    operation_id="put_experiment",
    summary="Create an experiment or describe it anew",
    tags=["experiments"],
    responses=created(Experiment) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_experiment(
    experiment_id: FromPath[UUID],
    data: JSONBody[ExperimentWrite],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
) -> Response[Experiment]:
    """The id is the caller's, so sending it again changes nothing. Project, name and namespace can't change.

    Another description or other tags than in the PUT before are carried over; what was edited by PATCH stays.
    """
    access.check_reference(caller, "name", data.project, ProjectRole.EDITOR)
    experiment, is_new = service.put(database, experiment_id, data, by=str(caller), by_part=caller.is_part)
    return Response(experiment, status_code=201 if is_new else 200)


@patch(
    "/experiments/{experiment_id:uuid}",
    operation_id="patch_experiment",
    summary="Edit an experiment",
    tags=["experiments"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_experiment(
    experiment_id: FromPath[UUID], data: JSONBody[ExperimentPatch], database: NamedDependency[Database]
) -> Experiment:
    """A JSON merge patch. One that is FINISHED or STOPPED takes no new iterations until it is OPEN again."""
    return service.patch(database, experiment_id, data)


@delete(
    "/experiments/{experiment_id:uuid}",
    operation_id="trash_experiment",
    summary="Put an experiment with all that is in it into the trash",
    tags=["experiments"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def trash_experiment(experiment_id: FromPath[UUID], database: NamedDependency[Database]) -> None:
    """Nothing is deleted; `PATCH {"lifecycle": "ACTIVE"}` takes it back. Sending it again changes nothing."""
    service.trash(database, experiment_id)


@get(
    "/experiments",
    operation_id="list_experiments",
    summary="The experiments that the caller may see, the newest first",
    tags=["experiments"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_experiments(
    *,
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    caller: NamedDependency[Caller],
    project: Annotated[str | None, QueryParameter(max_length=100, description="Of this project only")] = None,
    namespace: Annotated[str | None, QueryParameter(max_length=63, description="Of this namespace only")] = None,
    name: Annotated[str | None, QueryParameter(max_length=253, description="Of this name only")] = None,
    filter_: FilterQuery = "",
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> ExperimentPage:
    return service.page(
        database,
        project=project,
        namespace=namespace,
        name=name,
        filter_=filter_,
        me=str(caller),
        shown=lifecycle,
        visible=caller.visible,
        cut=cut,
    )


@get(
    "/experiments/{experiment_id:uuid}",
    operation_id="get_experiment",
    summary="One experiment",
    tags=["experiments"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_experiment(experiment_id: FromPath[UUID], database: NamedDependency[Database]) -> Experiment:
    return service.get(database, experiment_id)


ROUTES = (put_experiment, patch_experiment, trash_experiment, list_experiments, get_experiment)
