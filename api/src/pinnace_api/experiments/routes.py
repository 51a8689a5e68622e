"""/experiments"""

from typing import Annotated
from uuid import UUID

from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import Experiment, ExperimentPage, ExperimentWrite
from pinnace_api.database import Database
from pinnace_api.experiments import service
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut


@put(
    "/experiments/{experiment_id:uuid}",
    operation_id="put_experiment",
    summary="Create an experiment or describe it anew",
    tags=["experiments"],
    responses=created(Experiment) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_experiment(
    experiment_id: FromPath[UUID], data: JSONBody[ExperimentWrite], database: NamedDependency[Database]
) -> Response[Experiment]:
    """The id is the caller's, so sending it again changes nothing. Project, name and namespace can't change."""
    experiment, is_new = service.put(database, experiment_id, data)
    return Response(experiment, status_code=201 if is_new else 200)


@get(
    "/experiments",
    operation_id="list_experiments",
    summary="Experiments, the newest first",
    tags=["experiments"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_experiments(
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    project: Annotated[str | None, QueryParameter(max_length=100, description="Of this project only")] = None,
    namespace: Annotated[str | None, QueryParameter(max_length=63, description="Of this namespace only")] = None,
    name: Annotated[str | None, QueryParameter(max_length=253, description="Of this name only")] = None,
) -> ExperimentPage:
    return service.page(database, project=project, namespace=namespace, name=name, cut=cut)


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


ROUTES = (put_experiment, list_experiments, get_experiment)
