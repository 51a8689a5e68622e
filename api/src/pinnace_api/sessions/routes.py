"""/session, /sessions and /setup"""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from pinnace.records import LoginWrite, SessionGrant, SetupWrite, Whoami
from pinnace_api import credentials
from pinnace_api.cookies import Cookies
from pinnace_api.credentials import Passwords
from pinnace_api.database import Database
from pinnace_api.guard import session_cookie
from pinnace_api.identity import Visit
from pinnace_api.openapi import refusals
from pinnace_api.sessions import service
from pinnace_api.settings import ApiSettings

_NO_STORE = {"cache-control": "no-store"}


@post(
    "/session",
    operation_id="log_in",
    summary="Log in with a password",
    tags=["sessions"],
    responses=refusals(401, 403, 413, 422, 429, 503),
    security=[{}],
    sync_to_thread=True,
)
def log_in(
    *,
    request: Request[Any, Any, Any],
    data: JSONBody[LoginWrite],
    database: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    settings: NamedDependency[ApiSettings],
    jar: NamedDependency[Cookies],
    visit: NamedDependency[Visit],
) -> Response[SessionGrant]:
    """A wrong name, a wrong password and a disabled user get the same 401. After some of them there is a wait (429)."""
    grant, token = service.log_in(database, passwords, visit, data, settings.session_lifetime)
    if not data.cookie:
        return Response(msgspec.structs.replace(grant, token=token), headers=_NO_STORE)
    service.forget_session(database, session_cookie(request, jar.session))
    return Response(grant, headers=_NO_STORE, cookies=[jar.with_session(token, seconds=settings.session_seconds)])


@get(
    "/session",
    operation_id="whoami",
    summary="Who this token belongs to, and what it may",
    tags=["sessions"],
    responses=refusals(401, 403, 503),
    sync_to_thread=True,
)
def whoami(
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    jar: NamedDependency[Cookies],
    visit: NamedDependency[Visit],
) -> Response[Whoami]:
    by_cookie = not request.headers.getall("authorization", [])
    csrf = credentials.csrf(session_cookie(request, jar.session)) if by_cookie else ""
    return Response(service.whoami(database, visit, csrf), headers=_NO_STORE)


@delete(
    "/session",
    operation_id="log_out",
    summary="Log out: end the token of this request",
    tags=["sessions"],
    responses=refusals(401, 403, 503),
    sync_to_thread=True,
)
def log_out(
    database: NamedDependency[Database], jar: NamedDependency[Cookies], visit: NamedDependency[Visit]
) -> Response[None]:
    service.log_out(database, visit)
    return Response(None, status_code=204, cookies=[jar.without_session()])


@delete(
    "/sessions",
    operation_id="log_out_everywhere",
    summary="Log out everywhere: end all of one's sessions",
    tags=["sessions"],
    responses=refusals(401, 403, 503),
    sync_to_thread=True,
)
def log_out_everywhere(
    database: NamedDependency[Database], jar: NamedDependency[Cookies], visit: NamedDependency[Visit]
) -> Response[None]:
    """Personal tokens stay."""
    service.log_out_everywhere(database, visit)
    return Response(None, status_code=204, cookies=[jar.without_session()])


@post(
    "/setup",
    operation_id="set_up",
    summary="Make the first admin",
    tags=["sessions"],
    responses=refusals(401, 403, 413, 422, 429, 503),
    security=[{}],
    sync_to_thread=True,
)
def set_up(
    *,
    data: JSONBody[SetupWrite],
    database: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    settings: NamedDependency[ApiSettings],
    visit: NamedDependency[Visit],
) -> Response[SessionGrant]:
    """With the token that the API printed at its first start; it works once, and only while there is no user."""
    grant, token = service.set_up(database, passwords, visit, data, settings.session_lifetime)
    return Response(msgspec.structs.replace(grant, token=token), headers=_NO_STORE)


ROUTES = (log_in, whoami, log_out, log_out_everywhere, set_up)
