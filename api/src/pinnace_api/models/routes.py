"""/models, and those of a project"""

from typing import Annotated

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import Model, ModelPage, ModelPatch, ModelWrite, Shown
from pinnace_api.database import Database
from pinnace_api.identity import Caller
from pinnace_api.models import service
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.requests import ShownQuery


@put(
    "/projects/{name:str}/models/{model:str}",
    operation_id="put_model",
    summary="Register a model",
    tags=["models"],
    responses=created(Model) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_model(
    name: FromPath[str],
    model: FromPath[str],
    data: JSONBody[ModelWrite],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
) -> Response[Model]:
    """Sending it again changes nothing: description and tags are edited by PATCH. The project must be there."""
    stored, is_new = service.put(database, name, model, data, by=str(caller))
    return Response(stored, status_code=201 if is_new else 200)


@patch(
    "/projects/{name:str}/models/{model:str}",
    operation_id="patch_model",
    summary="Edit a model",
    tags=["models"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_model(
    name: FromPath[str], model: FromPath[str], data: JSONBody[ModelPatch], database: NamedDependency[Database]
) -> Model:
    """A JSON merge patch."""
    return service.patch(database, name, model, data)


@delete(
    "/projects/{name:str}/models/{model:str}",
    operation_id="trash_model",
    summary="Put a model with its versions into the trash",
    tags=["models"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def trash_model(name: FromPath[str], model: FromPath[str], database: NamedDependency[Database]) -> None:
    """Nothing is deleted, and no number is given again; `PATCH {"lifecycle": "ACTIVE"}` takes it back."""
    service.trash(database, name, model)


@get(
    "/models",
    operation_id="list_models",
    summary="The models that the caller may see, by project and name",
    tags=["models"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_models(
    *,
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    caller: NamedDependency[Caller],
    project: Annotated[str | None, QueryParameter(max_length=100, description="Of this project only")] = None,
    name: Annotated[str | None, QueryParameter(max_length=100, description="Of this name only")] = None,
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> ModelPage:
    return service.page(database, project=project, name=name, shown=lifecycle, visible=caller.visible, cut=cut)


@get(
    "/projects/{name:str}/models/{model:str}",
    operation_id="get_model",
    summary="One model",
    tags=["models"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def get_model(name: FromPath[str], model: FromPath[str], database: NamedDependency[Database]) -> Model:
    return service.get(database, name, model)


ROUTES = (put_model, patch_model, trash_model, list_models, get_model)
