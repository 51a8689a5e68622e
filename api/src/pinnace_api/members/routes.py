"""/projects/…/members"""

from typing import Annotated

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import Member, MemberKind, MemberPage
from pinnace_api.database import Database
from pinnace_api.identity import Visit
from pinnace_api.members import service
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut


@put(
    "/projects/{name:str}/members",
    operation_id="put_member",
    summary="Give a user or a group a role in the project",
    tags=["members"],
    responses=created(Member) | refusals(401, 403, 404, 413, 422, 503),
    sync_to_thread=True,
)
def put_member(
    name: FromPath[str],
    data: JSONBody[Member],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[Member]:
    """Takes the place of the role before. A group of an identity provider is called `oidc:NAME`."""
    member, is_new = service.put(database, visit, name, data)
    return Response(member, status_code=201 if is_new else 200)


@get(
    "/projects/{name:str}/members",
    operation_id="list_members",
    summary="The members of a project: groups, then users, by name",
    tags=["members"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_members(name: FromPath[str], database: NamedDependency[Database], cut: NamedDependency[Cut]) -> MemberPage:
    """Admins of the whole API may everything without being members."""
    return service.page(database, name, cut)


@delete(
    "/projects/{name:str}/members",
    operation_id="delete_member",
    summary="Take the role of a user or a group in the project away",
    tags=["members"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def delete_member(
    name: FromPath[str],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
    kind: Annotated[MemberKind, QueryParameter(description="Whether it is a user or a group")],
    member: Annotated[str, QueryParameter(min_length=1, max_length=256, description="The name of it")],
) -> None:
    service.remove(database, visit, name, kind, member)


ROUTES = (put_member, list_members, delete_member)
