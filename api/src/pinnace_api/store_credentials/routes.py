"""/iterations/…/credentials"""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import StoreCredentials, StoreCredentialsQuery
from pinnace_api.identity import Caller, TokenReviewer
from pinnace_api.openapi import refusals
from pinnace_api.store_credentials import service
from pinnace_api.store_credentials.sts import TokenService


@post(
    "/iterations/{iteration_id:uuid}/credentials",
    operation_id="give_store_credentials",
    summary="Get short-lived credentials for a store",
    tags=["pods"],
    status_code=200,
    responses=refusals(401, 403, 404, 413, 422, 503),
    sync_to_thread=True,
)
def give_store_credentials(
    iteration_id: FromPath[UUID],  # noqa: ARG001 - what the guard compares the caller with
    data: JSONBody[StoreCredentialsQuery],
    reviewer: NamedDependency[TokenReviewer],
    tokens: NamedDependency[TokenService],
    caller: NamedDependency[Caller],
) -> Response[StoreCredentials]:
    """For pods only. They end by themselves, and are good for the keys of the pod's namespace in that store: to write,
    read and list, not to delete."""
    given = service.give(reviewer, tokens, caller, data)
    return Response(given, headers={"cache-control": "no-store"})


ROUTES = (give_store_credentials,)
