"""/projects"""

from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import Project, ProjectPage, ProjectWrite
from pinnace_api.database import Database
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.projects import service


@put(
    "/projects/{name:str}",
    operation_id="put_project",
    summary="Create a project or describe it anew",
    tags=["projects"],
    responses=created(Project) | refusals(401, 403, 413, 422, 503),
    sync_to_thread=True,
)
def put_project(
    name: FromPath[str], data: JSONBody[ProjectWrite], database: NamedDependency[Database]
) -> Response[Project]:
    """Sending it again changes nothing."""
    project, is_new = service.put(database, name, data)
    return Response(project, status_code=201 if is_new else 200)


@get(
    "/projects",
    operation_id="list_projects",
    summary="All projects by name",
    tags=["projects"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_projects(cut: NamedDependency[Cut], database: NamedDependency[Database]) -> ProjectPage:
    return service.page(database, cut)


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


ROUTES = (put_project, list_projects, get_project)
