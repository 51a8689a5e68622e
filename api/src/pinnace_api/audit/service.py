"""What may be done with audit events: leave one in the transaction of what it tells of, and read them."""

from datetime import datetime

from pinnace.records import AuditPage
from pinnace_api.audit import queries
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.identity import Visit
from pinnace_api.paging import Cut
from pinnace_api.values import check_text, utc


def note(connection: Connection, /, visit: Visit, action: str, subject: str, **detail: str | int | bool) -> None:
    """Remember it if the transaction is committed. Neither subject nor detail may hold a secret."""
    queries.add(
        connection,
        time=now(),
        actor=str(visit),
        action=action,
        subject=subject,
        address=visit.address[:64],
        detail=detail,
    )


def page(
    database: Database,
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
    cut: Cut,
) -> AuditPage:
    for field, text in (("actor", actor), ("action", action), ("subject", subject)):
        check_text(text or "", field)
    with database.read() as connection:
        return queries.page(
            connection,
            actor=actor,
            action=action,
            subject=subject,
            since=None if since is None else utc(since, "since"),
            until=None if until is None else utc(until, "until"),
            cut=cut,
        )
