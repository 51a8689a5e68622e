"""/projects/…/holds"""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from pinnace.records import Hold, HoldPage, HoldWrite
from pinnace_api.database import Database
from pinnace_api.holds import service
from pinnace_api.identity import Visit
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut


@put(
    "/projects/{name:str}/holds/{hold_id:uuid}",
    operation_id="put_hold",
    summary="Set a legal hold on an artifact, an iteration, an experiment or the project",
    tags=["retention"],
    responses=created(Hold) | refusals(401, 403, 404, 409, 413, 422, 503),
    sync_to_thread=True,
)
def put_hold(
    name: FromPath[str],
    hold_id: FromPath[UUID],
    data: JSONBody[HoldWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[Hold]:
    """From the answer on neither a policy nor a person removes anything of it. Sending it again changes nothing."""
    hold, is_new = service.put(database, visit, name, hold_id, data)
    return Response(hold, status_code=201 if is_new else 200)


@get(
    "/projects/{name:str}/holds",
    operation_id="list_holds",
    summary="The legal holds of a project, the latest first",
    tags=["retention"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_holds(
    name: FromPath[str],
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    lifted: Annotated[bool, QueryParameter(description="Those that have been lifted too")] = False,
) -> HoldPage:
    return service.page(database, name, lifted=lifted, cut=cut)


@delete(
    "/projects/{name:str}/holds/{hold_id:uuid}",
    operation_id="lift_hold",
    summary="Lift a legal hold",
    tags=["retention"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def lift_hold(
    name: FromPath[str],
    hold_id: FromPath[UUID],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
    reason: Annotated[str, QueryParameter(min_length=1, max_length=4096, description="Why; it is kept")],
) -> None:
    """Its record stays. Sending it again changes nothing."""
    service.lift(database, visit, name, hold_id, reason)


ROUTES = (put_hold, list_holds, lift_hold)
