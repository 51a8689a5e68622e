"""/projects"""

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import Project, ProjectPage, ProjectPatch, ProjectWrite, Shown
from pinnace_api.database import Database
from pinnace_api.identity import Caller, Visit
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.projects import service
from pinnace_api.requests import ShownQuery


@put(
    "/projects/{name:str}",
    operation_id="put_project",
    summary="Create a project or describe it anew",
    tags=["projects"],
    responses=created(Project) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_project(
    name: FromPath[str],
    data: JSONBody[ProjectWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[Project]:
    """Sending it again changes nothing. The tags count when it is created; afterwards they are edited by PATCH.

    A user who creates a project becomes its admin.
    """
    project, is_new = service.put(database, visit, name, data)
    return Response(project, status_code=201 if is_new else 200)


@patch(
    "/projects/{name:str}",
    operation_id="patch_project",
    summary="Edit a project",
    tags=["projects"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_project(name: FromPath[str], data: JSONBody[ProjectPatch], database: NamedDependency[Database]) -> Project:
    """A JSON merge patch. `lifecycle` archives it, or takes it back from archive or trash."""
    return service.patch(database, name, data)


@delete(
    "/projects/{name:str}",
    operation_id="trash_project",
    summary="Put a project with all that is in it into the trash",
    tags=["projects"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def trash_project(name: FromPath[str], database: NamedDependency[Database]) -> None:
    """Nothing is deleted; `PATCH {"lifecycle": "ACTIVE"}` takes it back. Sending it again changes nothing."""
    service.trash(database, name)


@get(
    "/projects",
    operation_id="list_projects",
    summary="The projects that the caller may see, by name",
    tags=["projects"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_projects(
    cut: NamedDependency[Cut],
    database: NamedDependency[Database],
    caller: NamedDependency[Caller],
    lifecycle: ShownQuery = Shown.ACTIVE,
) -> ProjectPage:
    return service.page(database, lifecycle, caller.visible, cut)


@get(
    "/projects/{name:str}",
    operation_id="get_project",
    summary="One project",
    tags=["projects"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_project(name: FromPath[str], database: NamedDependency[Database]) -> Project:
    return service.get(database, name)


ROUTES = (put_project, patch_project, trash_project, list_projects, get_project)
