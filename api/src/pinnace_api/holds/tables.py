"""The table of legal holds."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class HoldRow(Row, table=True):
    """Of the three references one is set, that of its kind; none for a project. A lifted one stays for the record.

    Whoever adds one holds the project's row, and whoever removes something for good shares it, so a hold that was
    answered is seen by every removal after it.
    """

    __tablename__ = "holds"
    __table_args__ = (Index(None, "project_id", "created_at", "id"),)

    id: UUID = Field(primary_key=True)
    project_id: UUID = Field(foreign_key="projects.id")
    kind: str = Field(sa_type=word(16))
    experiment_id: UUID | None = Field(foreign_key="experiments.id")
    iteration_id: UUID | None = Field(foreign_key="iterations.id")
    artifact_id: UUID | None = Field(foreign_key="artifacts.id")
    reason: str = Field(sa_type=prose())
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=word(400))
    lifted_at: datetime | None = Field(sa_type=UtcDateTime)
    lifted_by: str = Field(sa_type=word(400))
    lifted_reason: str = Field(sa_type=prose())


HOLDS = table_of(HoldRow)
