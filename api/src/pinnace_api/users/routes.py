"""/users"""

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import PasswordWrite, User, UserPage, UserPatch, UserWrite
from pinnace_api.credentials import Passwords
from pinnace_api.database import Database
from pinnace_api.identity import Visit
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.users import service


@put(
    "/users/{user:str}",
    operation_id="put_user",
    summary="Create a user",
    tags=["users"],
    responses=created(User) | refusals(401, 403, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_user(
    user: FromPath[str],
    data: JSONBody[UserWrite],
    database: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    visit: NamedDependency[Visit],
) -> Response[User]:
    """Sending it again changes nothing; something else under the same name is a conflict."""
    record, is_new = service.put(database, passwords, visit, user, data)
    return Response(record, status_code=201 if is_new else 200)


@get(
    "/users",
    operation_id="list_users",
    summary="All users by name",
    tags=["users"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_users(database: NamedDependency[Database], cut: NamedDependency[Cut]) -> UserPage:
    return service.page(database, cut)


@get(
    "/users/{user:str}",
    operation_id="get_user",
    summary="One user",
    tags=["users"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def get_user(user: FromPath[str], database: NamedDependency[Database], visit: NamedDependency[Visit]) -> User:
    """Admins see everybody, everybody else themselves."""
    return service.get(database, visit, user)


@patch(
    "/users/{user:str}",
    operation_id="patch_user",
    summary="Change a user",
    tags=["users"],
    responses=refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def patch_user(
    user: FromPath[str],
    data: JSONBody[UserPatch],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> User:
    """Fields that are absent stay as they are. Users change their own display name, admins everything.

    The last admin can be neither disabled nor made less.
    """
    return service.patch(database, visit, user, data)


@put(
    "/users/{user:str}/password",
    operation_id="put_password",
    summary="Change a password",
    tags=["users"],
    status_code=204,
    responses=refusals(401, 403, 404, 409, 413, 422, 429, 503),
    sync_to_thread=True,
)
def put_password(
    user: FromPath[str],
    data: JSONBody[PasswordWrite],
    database: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    visit: NamedDependency[Visit],
) -> None:
    """All sessions of the user end. One's own password needs the current one."""
    service.set_password(database, passwords, visit, user, data)


@delete(
    "/users/{user:str}",
    operation_id="delete_user",
    summary="Remove a user",
    tags=["users"],
    responses=refusals(401, 403, 404, 409, 422, 503),
    sync_to_thread=True,
)
def delete_user(user: FromPath[str], database: NamedDependency[Database], visit: NamedDependency[Visit]) -> None:
    """With roles, sessions and tokens; what the user recorded stays. The last admin can't be removed."""
    service.remove(database, visit, user)


ROUTES = (put_user, list_users, get_user, patch_user, put_password, delete_user)
