"""Audit events in SQL: added and read, never changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from pinnace.records import AuditEvent, AuditPage
from pinnace_api import paging
from pinnace_api.audit.tables import AUDIT
from pinnace_api.paging import Cut, Number, Order

_ORDER = Order(columns=(AUDIT.c.id,), key=tuple[Number], descending=True)


def add(
    connection: Connection,
    *,
    time: datetime,
    actor: str,
    action: str,
    subject: str,
    address: str,
    detail: dict[str, Any],
) -> None:
    row = {"time": time, "actor": actor, "action": action, "subject": subject, "address": address, "detail": detail}
    connection.execute(insert(AUDIT).inline(), row)


def page(
    connection: Connection,
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
    cut: Cut,
) -> AuditPage:
    statement = select(AUDIT)
    for column, value in ((AUDIT.c.actor, actor), (AUDIT.c.action, action), (AUDIT.c.subject, subject)):
        if value is not None:
            statement = statement.where(column == value)
    if since is not None:
        statement = statement.where(AUDIT.c.time >= since)
    if until is not None:
        statement = statement.where(AUDIT.c.time < until)
    part = paging.fetch(connection, statement, _ORDER, cut)
    return AuditPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def _record(row: Row[Any]) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        time=row.time,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        address=row.address,
        detail=row.detail,
    )
