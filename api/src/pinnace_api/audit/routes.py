"""/audit"""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from pinnace.records import AuditPage
from pinnace_api.audit import service
from pinnace_api.database import Database
from pinnace_api.openapi import refusals
from pinnace_api.paging import Cut


@get(
    "/audit",
    operation_id="list_audit",
    summary="Who did what to accounts, tokens, members and models, the newest first",
    tags=["audit"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_audit(
    *,
    database: NamedDependency[Database],
    cut: NamedDependency[Cut],
    actor: Annotated[str | None, QueryParameter(max_length=128, description="By this one only: user:NAME")] = None,
    action: Annotated[str | None, QueryParameter(max_length=64, description="Of this kind only")] = None,
    subject: Annotated[str | None, QueryParameter(max_length=512, description="Of this subject only")] = None,
    since: Annotated[datetime | None, QueryParameter(description="From this time on")] = None,
    until: Annotated[datetime | None, QueryParameter(description="Before this time")] = None,
) -> AuditPage:
    """Events are only ever added; the database refuses to change them."""
    return service.page(database, actor=actor, action=action, subject=subject, since=since, until=until, cut=cut)


ROUTES = (list_audit,)
