"""/datasets, those of an iteration, and the lineage of an artifact"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import (
    Dataset,
    DatasetPage,
    DatasetPatch,
    DatasetUse,
    DatasetUsePage,
    DatasetUseWrite,
    DatasetWrite,
    Direction,
    Lineage,
    ProjectRole,
)
from pinnace_api.access import Access
from pinnace_api.database import Database
from pinnace_api.datasets import service
from pinnace_api.identity import Caller
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut


@put(
    "/datasets/{dataset_id:uuid}",
    operation_id="put_dataset",
    summary="Register one content of a dataset",
    tags=["datasets"],
    responses=created(Dataset) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_dataset(
    dataset_id: FromPath[UUID],
    data: JSONBody[DatasetWrite],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
) -> Response[Dataset]:
    """The id must be the UUIDv5 of DIGEST:NAME in the name space of the project's id, so every user of the same content
    arrives at the same one. Rows, columns, bytes and features can't change; source, description and tags are edited by
    PATCH.
    """
    access.check_reference(caller, "name", data.project, ProjectRole.EDITOR)
    dataset, is_new = service.put(database, dataset_id, data, by=str(caller))
    return Response(dataset, status_code=201 if is_new else 200)


@patch(
    "/datasets/{dataset_id:uuid}",
    operation_id="patch_dataset",
    summary="Edit a dataset",
    tags=["datasets"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_dataset(
    dataset_id: FromPath[UUID], data: JSONBody[DatasetPatch], database: NamedDependency[Database]
) -> Dataset:
    """A JSON merge patch."""
    return service.patch(database, dataset_id, data)


@get(
    "/datasets",
    operation_id="list_datasets",
    summary="The datasets that the caller may see, the newest first",
    tags=["datasets"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_datasets(
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    caller: NamedDependency[Caller],
    project: Annotated[str | None, QueryParameter(max_length=100, description="Of this project only")] = None,
    name: Annotated[str | None, QueryParameter(max_length=250, description="Of this name only")] = None,
) -> DatasetPage:
    return service.page(database, project=project, name=name, visible=caller.visible, cut=cut)


@get(
    "/datasets/{dataset_id:uuid}",
    operation_id="get_dataset",
    summary="One dataset",
    tags=["datasets"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_dataset(dataset_id: FromPath[UUID], database: NamedDependency[Database]) -> Dataset:
    return service.get(database, dataset_id)


@get(
    "/datasets/{dataset_id:uuid}/uses",
    operation_id="list_dataset_uses",
    summary="Which iterations consumed and produced a dataset",
    tags=["datasets"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_dataset_uses(
    dataset_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> DatasetUsePage:
    return service.uses_of_dataset(database, dataset_id, cut)


@put(
    "/iterations/{iteration_id:uuid}/datasets/{dataset_id:uuid}",
    operation_id="put_dataset_use",
    summary="Say that an iteration consumed or produced a dataset",
    tags=["datasets"],
    responses=created(DatasetUse) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_dataset_use(
    *,
    iteration_id: FromPath[UUID],
    dataset_id: FromPath[UUID],
    data: JSONBody[DatasetUseWrite],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    access: NamedDependency[Access],
) -> Response[DatasetUse]:
    """While the iteration is open. Dataset and artifact must be of its project."""
    access.check_reference(caller, "dataset_id", dataset_id, ProjectRole.VIEWER)
    use, is_new = service.put_use(database, iteration_id, dataset_id, data, by_part=caller.is_part)
    return Response(use, status_code=201 if is_new else 200)


@delete(
    "/iterations/{iteration_id:uuid}/datasets/{dataset_id:uuid}",
    operation_id="delete_dataset_use",
    summary="Take back that an iteration used a dataset",
    tags=["datasets"],
    responses=refusals(401, 403, 404, 409, 503),
    sync_to_thread=True,
)
def delete_dataset_use(
    iteration_id: FromPath[UUID], dataset_id: FromPath[UUID], database: NamedDependency[Database]
) -> None:
    """While the iteration is open. Sending it again changes nothing."""
    service.delete_use(database, iteration_id, dataset_id)


@get(
    "/iterations/{iteration_id:uuid}/datasets",
    operation_id="list_iteration_datasets",
    summary="What an iteration consumed and produced",
    tags=["datasets"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_iteration_datasets(
    iteration_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> DatasetUsePage:
    return service.uses_of_iteration(database, iteration_id, cut)


@get(
    "/artifacts/{artifact_id:uuid}/lineage",
    operation_id="get_lineage",
    summary="What an artifact was made of, or what was made of it",
    tags=["datasets"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_lineage(
    artifact_id: FromPath[UUID],
    database: NamedDependency[Database],
    direction: Annotated[Direction, QueryParameter(description="Which way to follow")] = Direction.UPSTREAM,
    depth: Annotated[int, QueryParameter(ge=0, le=50, description="Steps from iteration to iteration at most")] = 5,
) -> Lineage:
    return service.lineage(database, artifact_id, direction, depth)


ROUTES = (
    put_dataset,
    patch_dataset,
    list_datasets,
    get_dataset,
    list_dataset_uses,
    put_dataset_use,
    delete_dataset_use,
    list_iteration_datasets,
    get_lineage,
)
