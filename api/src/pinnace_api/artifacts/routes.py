"""/artifacts, and those of an iteration or an experiment"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import (
    Artifact,
    ArtifactBatch,
    ArtifactPage,
    ArtifactPatch,
    ContentQuery,
    RecordedContents,
)
from pinnace_api.access import check_pods
from pinnace_api.artifact_sets import service as sets
from pinnace_api.artifacts import service
from pinnace_api.database import Database
from pinnace_api.identity import Caller
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.refusals import Invalid


@put(
    "/iterations/{iteration_id:uuid}/artifacts",
    operation_id="put_artifacts",
    summary="Register artifacts of an iteration",
    tags=["artifacts"],
    responses=created(ArtifactBatch) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_artifacts(
    iteration_id: FromPath[UUID],
    data: JSONBody[ArtifactBatch],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
) -> Response[ArtifactBatch]:
    """All or nothing; answers the rows as stored, in the same order. Send it when the bytes are in the store.

    A row that is there stays as it was first recorded, but it stops being suspect when it comes as not suspect.
    `sets` says which artifacts the manifests among them name; those must be recorded, or come along.
    """
    check_pods(caller, {artifact.pod_uid for artifact in data.artifacts})
    batch, is_new = service.put(database, iteration_id, data, by=str(caller))
    return Response(batch, status_code=201 if is_new else 200)


@get(
    "/iterations/{iteration_id:uuid}/artifacts",
    operation_id="list_iteration_artifacts",
    summary="An iteration's artifacts in the order of recording",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_iteration_artifacts(
    iteration_id: FromPath[UUID],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    *,
    path: Annotated[str | None, QueryParameter(max_length=4096, description="The contents of this path only")] = None,
    newest: Annotated[bool, QueryParameter(description="With a path: the newest content first")] = False,
    manifest: Annotated[UUID | None, QueryParameter(description="The files of the set that it names only")] = None,
) -> ArtifactPage:
    """With a `path`, each has the `version` that it is of that path; with a `manifest` also those that are deleted."""
    if manifest is not None:
        if path is not None or newest:
            raise Invalid("a set is asked for by its manifest alone", field="manifest", hint="leave `path` out")
        return sets.page_of_members_in(database, iteration_id, manifest, cut)
    if path is not None:
        return service.page_of_path(database, iteration_id, path, newest=newest, cut=cut)
    if newest:
        raise Invalid("`newest` is about the contents of one path", field="newest", hint="give `path` too")
    return service.page_of_iteration(database, iteration_id, cut)


@get(
    "/iterations/{iteration_id:uuid}/pods/{pod_uid:str}/artifacts",
    operation_id="list_pod_artifacts",
    summary="The artifacts that a pod registered, in the order of recording",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_pod_artifacts(
    iteration_id: FromPath[UUID],
    pod_uid: FromPath[str],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
) -> ArtifactPage:
    """Also those that another pod had registered before. The pod's standing has their manifest."""
    return service.page_of_pod(database, iteration_id, pod_uid, cut)


@get(
    "/experiments/{experiment_id:uuid}/artifacts",
    operation_id="list_experiment_artifacts",
    summary="An experiment's artifacts by iteration, in the order of recording",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_experiment_artifacts(
    experiment_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ArtifactPage:
    return service.page_of_experiment(database, experiment_id, cut)


@get(
    "/artifacts/{artifact_id:uuid}",
    operation_id="get_artifact",
    summary="One artifact",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 410, 503),
    sync_to_thread=True,
)
def get_artifact(artifact_id: FromPath[UUID], database: NamedDependency[Database]) -> Artifact:
    return service.get(database, artifact_id)


@patch(
    "/artifacts/{artifact_id:uuid}",
    operation_id="patch_artifact",
    summary="Edit what is said about an artifact",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 409, 410, 413, 422, 503),
    sync_to_thread=True,
)
def patch_artifact(
    artifact_id: FromPath[UUID], data: JSONBody[ArtifactPatch], database: NamedDependency[Database]
) -> Artifact:
    """A JSON merge patch of content type, description and tags. The content itself never changes."""
    return service.patch(database, artifact_id, data)


@delete(
    "/artifacts/{artifact_id:uuid}",
    operation_id="delete_artifact",
    summary="Delete an artifact",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 409, 503),
    sync_to_thread=True,
)
def delete_artifact(
    artifact_id: FromPath[UUID], database: NamedDependency[Database], caller: NamedDependency[Caller]
) -> None:
    """It is left out from now on; `pinnace gc` removes the bytes when nobody needs them. Uploading them again before or
    after that brings it back.
    """
    service.delete(database, artifact_id, by=str(caller))


@post(
    "/iterations/{iteration_id:uuid}/contents",
    operation_id="find_contents",
    summary="Which contents the iteration's experiment has recorded already",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 413, 422, 503),
    status_code=200,
    sync_to_thread=True,
)
def find_contents(
    iteration_id: FromPath[UUID], data: JSONBody[ContentQuery], database: NamedDependency[Database]
) -> RecordedContents:
    """A question, which changes nothing. An artifact with such a content may be registered with the location answered.

    Contents of other experiments are not told of, and neither are those whose size and checksums are not all right.
    """
    return service.find_contents(database, iteration_id, data)


ROUTES = (
    put_artifacts,
    list_iteration_artifacts,
    list_pod_artifacts,
    list_experiment_artifacts,
    get_artifact,
    patch_artifact,
    delete_artifact,
    find_contents,
)
