"""/iterations/…/pods, and those of an experiment"""

from uuid import UUID

from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import PodPage, PodReport, PodStanding, WriterStatus
from pinnace_api.database import Database
from pinnace_api.identity import Caller, TokenReviewer
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.pods import service


@put(
    "/iterations/{iteration_id:uuid}/pods/{pod_uid:str}",
    operation_id="put_pod_report",
    summary="Leave a pod's report",
    tags=["pods"],
    responses=created(PodStanding) | refusals(401, 403, 404, 413, 422, 503),
    sync_to_thread=True,
)
def put_pod_report(
    iteration_id: FromPath[UUID],
    pod_uid: FromPath[str],
    data: JSONBody[PodReport],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
) -> Response[PodStanding]:
    """The report with the highest `sequence` is kept. Answers what the API itself holds of the pod beside it."""
    standing, is_new = service.put_report(database, iteration_id, pod_uid, data, name=caller.pod_name)
    return Response(standing, status_code=201 if is_new else 200)


@get(
    "/iterations/{iteration_id:uuid}/pods/{pod_uid:str}/writers",
    operation_id="get_writers",
    summary="Whether a pod's own containers have ended, and how",
    tags=["pods"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_writers(
    iteration_id: FromPath[UUID],
    pod_uid: FromPath[str],
    database: NamedDependency[Database],
    reviewer: NamedDependency[TokenReviewer],
    caller: NamedDependency[Caller],
) -> WriterStatus:
    """`unknown` when there is no such pod, or when the API does not run in a Kubernetes."""
    return service.writers(database, reviewer, iteration_id, pod_uid, name=caller.pod_name)


@get(
    "/experiments/{experiment_id:uuid}/pods",
    operation_id="list_pods",
    summary="An experiment's pods by iteration and UID",
    tags=["pods"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_pods(experiment_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]) -> PodPage:
    """Every pod that reported or registered something: its latest report beside what the API itself holds of it."""
    return service.page(database, experiment_id, cut)


ROUTES = (put_pod_report, get_writers, list_pods)
