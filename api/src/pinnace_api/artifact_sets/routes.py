"""Sets of an iteration, and what belongs to one. They are recorded by PUT /iterations/…/artifacts."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from pinnace.records import ArtifactPage, ArtifactSetPage
from pinnace_api.artifact_sets import service
from pinnace_api.database import Database
from pinnace_api.openapi import refusals
from pinnace_api.paging import Cut


@get(
    "/iterations/{iteration_id:uuid}/artifact-sets",
    operation_id="list_artifact_sets",
    summary="An iteration's complete sets, the latest first",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_artifact_sets(
    iteration_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ArtifactSetPage:
    """A set is called by the artifact that is its manifest. All its files are recorded."""
    return service.page(database, iteration_id, cut)


@get(
    "/artifacts/{artifact_id:uuid}/members",
    operation_id="list_set_members",
    summary="The files of a set in the order of recording; of any other artifact none",
    tags=["artifacts"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_set_members(
    artifact_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ArtifactPage:
    return service.page_of_members(database, artifact_id, cut)


ROUTES = (list_artifact_sets, list_set_members)
