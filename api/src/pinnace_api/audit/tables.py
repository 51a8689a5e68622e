"""The table of audit events. The database itself refuses to change or delete its rows (see the migration)."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, counter, prose, table_of, word


class AuditRow(Row, table=True):
    __tablename__ = "audit_events"

    id: int | None = Field(primary_key=True, sa_type=counter())
    time: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=word(128), index=True)
    action: str = Field(sa_type=word(64))
    subject: str = Field(sa_type=prose())
    address: str = Field(sa_type=word(64))
    detail: dict[str, Any] = Field(sa_type=JSON)


AUDIT = table_of(AuditRow)
