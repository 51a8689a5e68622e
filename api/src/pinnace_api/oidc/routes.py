"""/oidc"""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from pinnace.records import ExchangeWrite, SessionGrant
from pinnace_api.cookies import Cookies
from pinnace_api.database import Database
from pinnace_api.guard import session_cookie
from pinnace_api.identity import Visit
from pinnace_api.oidc import service
from pinnace_api.oidc.provider import Provider
from pinnace_api.openapi import refusals
from pinnace_api.refusals import NotFound, Unauthorized
from pinnace_api.sessions.service import forget_session
from pinnace_api.settings import ApiSettings

_NO_STORE = {"cache-control": "no-store"}


@get(
    "/oidc/login",
    operation_id="oidc_login",
    summary="Send a browser to the identity provider",
    tags=["sessions"],
    status_code=302,
    responses=refusals(404, 422, 503),
    security=[{}],
    sync_to_thread=True,
)
def oidc_login(
    *,
    database: NamedDependency[Database],
    provider: NamedDependency[Provider | None],
    jar: NamedDependency[Cookies],
    return_to: Annotated[str, QueryParameter(max_length=1024, description="The path to come back to")] = "/",
    port: Annotated[int, QueryParameter(ge=0, le=65535, description="Where a program waits on 127.0.0.1")] = 0,
    challenge: Annotated[str, QueryParameter(max_length=43, description="That program's (RFC 7636, S256)")] = "",
) -> Response[None]:
    address, secret = service.begin(database, _there(provider), return_to=return_to, port=port, challenge=challenge)
    headers = {**_NO_STORE, "location": address}
    return Response(None, status_code=302, headers=headers, cookies=[jar.with_login(secret)])


@get(
    "/oidc/callback",
    operation_id="oidc_callback",
    summary="Where the identity provider sends the browser back to",
    tags=["sessions"],
    status_code=303,
    responses=refusals(401, 403, 404, 422, 503),
    security=[{}],
    sync_to_thread=True,
)
def oidc_callback(
    *,
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    provider: NamedDependency[Provider | None],
    settings: NamedDependency[ApiSettings],
    jar: NamedDependency[Cookies],
    visit: NamedDependency[Visit],
    login_state: Annotated[
        str, QueryParameter(name="state", min_length=1, max_length=512, description="As it was sent out")
    ],
    code: Annotated[str, QueryParameter(max_length=4096, description="Stands for the login, once")] = "",
) -> Response[None]:
    there = _there(provider)
    if not code:
        raise Unauthorized("the login at the identity provider failed", hint="begin again")
    arrival = service.finish(
        database,
        there,
        settings,
        visit,
        code=code,
        state=login_state,
        browser=session_cookie(request, jar.login),
    )
    cookies = [jar.without_login()]
    if arrival.token:
        forget_session(database, session_cookie(request, jar.session))
        cookies.append(jar.with_session(arrival.token, seconds=settings.session_seconds))
    headers = {**_NO_STORE, "location": arrival.location}
    return Response(None, status_code=303, headers=headers, cookies=cookies)


@post(
    "/oidc/session",
    operation_id="oidc_exchange",
    summary="Fetch the session of a login in the browser",
    tags=["sessions"],
    responses=refusals(401, 403, 404, 413, 422, 503),
    security=[{}],
    sync_to_thread=True,
)
def oidc_exchange(
    data: JSONBody[ExchangeWrite],
    database: NamedDependency[Database],
    provider: NamedDependency[Provider | None],
    settings: NamedDependency[ApiSettings],
    visit: NamedDependency[Visit],
) -> Response[SessionGrant]:
    """For the program that began it with `port` and `challenge`; the code works once, within a minute."""
    _there(provider)
    grant, token = service.exchange(database, visit, data, settings.session_lifetime)
    return Response(msgspec.structs.replace(grant, token=token), headers=_NO_STORE)


def _there(provider: Provider | None) -> Provider:
    if provider is None:
        raise NotFound("this API has no identity provider", hint="log in with a password")
    return provider


ROUTES = (oidc_login, oidc_callback, oidc_exchange)
