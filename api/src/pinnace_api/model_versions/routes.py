"""/model-versions, and those of a model, an iteration and an artifact; aliases"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import (
    AliasWrite,
    ModelAlias,
    ModelAliasPage,
    ModelDiff,
    ModelStage,
    ModelTransitionPage,
    ModelVersion,
    ModelVersionPage,
    ModelVersionPatch,
    ModelVersionWrite,
    ProjectRole,
    Shown,
    StageWrite,
)
from pinnace_api.access import Access
from pinnace_api.database import Database
from pinnace_api.identity import Caller, Visit
from pinnace_api.model_versions import aliases, comparison, service
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.requests import ShownQuery


@put(
    "/model-versions/{version_id:uuid}",
    operation_id="put_model_version",
    summary="Register a version of a model",
    tags=["models"],
    responses=created(ModelVersion) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_model_version(
    *,
    version_id: FromPath[UUID],
    data: JSONBody[ModelVersionWrite],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    visit: NamedDependency[Visit],
    access: NamedDependency[Access],
) -> Response[ModelVersion]:
    """The id is the caller's, the number the API's: one more than the one before, never given twice. Sending it again
    changes nothing. The model is created if it isn't there.
    """
    access.check_reference(caller, "name", data.project, ProjectRole.EDITOR)
    version, is_new = service.put(database, visit, version_id, data)
    return Response(version, status_code=201 if is_new else 200)


@patch(
    "/model-versions/{version_id:uuid}",
    operation_id="patch_model_version",
    summary="Edit a version of a model",
    tags=["models"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_model_version(
    version_id: FromPath[UUID], data: JSONBody[ModelVersionPatch], database: NamedDependency[Database]
) -> ModelVersion:
    """A JSON merge patch. An artifact can be attached to a version that has none."""
    return service.patch(database, version_id, data)


@delete(
    "/model-versions/{version_id:uuid}",
    operation_id="trash_model_version",
    summary="Put a version of a model into the trash",
    tags=["models"],
    responses=refusals(401, 403, 404, 409, 503),
    sync_to_thread=True,
)
def trash_model_version(version_id: FromPath[UUID], database: NamedDependency[Database]) -> None:
    """Not one that is in PRODUCTION or has an alias. Nothing is deleted, and its number is not given again."""
    service.trash(database, version_id)


@put(
    "/model-versions/{version_id:uuid}/stage",
    operation_id="put_model_stage",
    summary="Move a version of a model to a stage",
    tags=["models"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_model_stage(
    version_id: FromPath[UUID],
    data: JSONBody[StageWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> ModelVersion:
    """The version that was in PRODUCTION becomes ARCHIVED when another one comes, at once. Into PRODUCTION and out of
    it, only an admin of the project moves a version.
    """
    return service.set_stage(database, visit, version_id, data)


@get(
    "/model-versions/{version_id:uuid}",
    operation_id="get_model_version",
    summary="One version of a model",
    tags=["models"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_model_version(version_id: FromPath[UUID], database: NamedDependency[Database]) -> ModelVersion:
    return service.get(database, version_id)


@get(
    "/projects/{name:str}/models/{model:str}/versions",
    operation_id="list_model_versions",
    summary="The versions of a model, the highest number first",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_model_versions(
    *,
    name: FromPath[str],
    model: FromPath[str],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    stage: Annotated[ModelStage | None, QueryParameter(description="In this stage only")] = None,
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> ModelVersionPage:
    return service.page_of_model(database, name, model, cut, stage=stage, shown=lifecycle)


@get(
    "/projects/{name:str}/models/{model:str}/versions/{number:int}",
    operation_id="get_numbered_version",
    summary="The version of a model with this number",
    tags=["models"],
    responses=refusals(401, 403, 404, 410, 503),
    sync_to_thread=True,
)
def get_numbered_version(
    name: FromPath[str], model: FromPath[str], number: FromPath[int], database: NamedDependency[Database]
) -> ModelVersion:
    return service.numbered(database, name, model, number)


@get(
    "/projects/{name:str}/models/{model:str}/newest",
    operation_id="get_newest_version",
    summary="The version of a model with the highest number",
    tags=["models"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_newest_version(name: FromPath[str], model: FromPath[str], database: NamedDependency[Database]) -> ModelVersion:
    """Of those that are ACTIVE."""
    return service.newest(database, name, model)


@get(
    "/projects/{name:str}/models/{model:str}/stages/{stage:str}",
    operation_id="get_staged_version",
    summary="The version of a model in this stage, or the newest of several",
    tags=["models"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_staged_version(
    name: FromPath[str], model: FromPath[str], stage: FromPath[str], database: NamedDependency[Database]
) -> ModelVersion:
    return service.in_stage(database, name, model, stage)


@get(
    "/projects/{name:str}/models/{model:str}/aliases/{alias:str}",
    operation_id="get_called_version",
    summary="The version of a model that an alias stands for",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_called_version(
    name: FromPath[str], model: FromPath[str], alias: FromPath[str], database: NamedDependency[Database]
) -> ModelVersion:
    return service.called(database, name, model, alias)


@put(
    "/projects/{name:str}/models/{model:str}/aliases/{alias:str}",
    operation_id="put_model_alias",
    summary="Let an alias stand for a version of a model",
    tags=["models"],
    responses=created(ModelAlias) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_model_alias(
    *,
    name: FromPath[str],
    model: FromPath[str],
    alias: FromPath[str],
    data: JSONBody[AliasWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[ModelAlias]:
    """With `expected`, only if it stands for that version (null: for none) now: otherwise 409."""
    stored, is_new = aliases.put(database, visit, name, model, alias=alias, write=data)
    return Response(stored, status_code=201 if is_new else 200)


@delete(
    "/projects/{name:str}/models/{model:str}/aliases/{alias:str}",
    operation_id="delete_model_alias",
    summary="Take an alias away",
    tags=["models"],
    responses=refusals(401, 403, 404, 409, 503),
    sync_to_thread=True,
)
def delete_model_alias(
    name: FromPath[str],
    model: FromPath[str],
    alias: FromPath[str],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> None:
    """Sending it again changes nothing."""
    aliases.remove(database, visit, name, model, alias)


@get(
    "/projects/{name:str}/models/{model:str}/aliases",
    operation_id="list_model_aliases",
    summary="The aliases of a model by name",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_model_aliases(
    name: FromPath[str], model: FromPath[str], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ModelAliasPage:
    return aliases.page(database, name, model, cut)


@get(
    "/projects/{name:str}/models/{model:str}/transitions",
    operation_id="list_model_transitions",
    summary="Every change of the stage of a model's versions, the latest first",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_model_transitions(
    name: FromPath[str], model: FromPath[str], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ModelTransitionPage:
    return service.transitions(database, name, model, cut)


@get(
    "/projects/{name:str}/models/{model:str}/diff",
    operation_id="diff_model_versions",
    summary="Two versions of a model compared",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def diff_model_versions(
    name: FromPath[str],
    model: FromPath[str],
    database: NamedDependency[Database],
    left: Annotated[int, QueryParameter(description="The number of the one")],
    right: Annotated[int, QueryParameter(description="The number of the other")],
) -> ModelDiff:
    """Parameters, last metrics and environment of their iterations, and SHA-256 of their artifacts: same, different or
    missing on one side.
    """
    return comparison.compare(database, name, model, left, right)


@get(
    "/iterations/{iteration_id:uuid}/model-versions",
    operation_id="list_versions_of_iteration",
    summary="Which versions of models came of an iteration, the newest first",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_versions_of_iteration(
    iteration_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ModelVersionPage:
    return service.page_of_iteration(database, iteration_id, cut)


@get(
    "/artifacts/{artifact_id:uuid}/model-versions",
    operation_id="list_versions_of_artifact",
    summary="Which versions of models came of an artifact, or of a set with it, the newest first",
    tags=["models"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_versions_of_artifact(
    artifact_id: FromPath[UUID], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> ModelVersionPage:
    return service.page_of_artifact(database, artifact_id, cut)


ROUTES = (
    put_model_version,
    patch_model_version,
    trash_model_version,
    put_model_stage,
    get_model_version,
    list_model_versions,
    get_numbered_version,
    get_newest_version,
    get_staged_version,
    get_called_version,
    put_model_alias,
    delete_model_alias,
    list_model_aliases,
    list_model_transitions,
    diff_model_versions,
    list_versions_of_iteration,
    list_versions_of_artifact,
)
