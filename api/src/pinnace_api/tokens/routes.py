"""/tokens"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import TokenGrant, TokenPage, TokenWrite
from pinnace_api.database import Database
from pinnace_api.identity import Visit
from pinnace_api.openapi import refusals
from pinnace_api.paging import Cut
from pinnace_api.tokens import service


@put(
    "/tokens/{token_id:uuid}",
    operation_id="put_token",
    summary="Make a personal token",
    tags=["tokens"],
    status_code=201,
    responses=refusals(401, 403, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_token(
    token_id: FromPath[UUID],
    data: JSONBody[TokenWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[TokenGrant]:
    """Its secret is in this answer and nowhere else: the same id again is a conflict. Needs a session."""
    return Response(
        service.put(database, visit, token_id, data), status_code=201, headers={"cache-control": "no-store"}
    )


@get(
    "/tokens",
    operation_id="list_tokens",
    summary="One's sessions and personal tokens, the newest first",
    tags=["tokens"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_tokens(
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
    cut: NamedDependency[Cut],
    user: Annotated[str | None, QueryParameter(max_length=100, description="Another's, for admins")] = None,
) -> TokenPage:
    """Those that have not expired, without their secrets."""
    return service.page(database, visit, user, cut)


@delete(
    "/tokens/{token_id:uuid}",
    operation_id="delete_token",
    summary="End a session or a personal token",
    tags=["tokens"],
    responses=refusals(401, 403, 404, 503),
    sync_to_thread=True,
)
def delete_token(token_id: FromPath[UUID], database: NamedDependency[Database], visit: NamedDependency[Visit]) -> None:
    """At once and everywhere."""
    service.remove(database, visit, token_id)


ROUTES = (put_token, list_tokens, delete_token)
