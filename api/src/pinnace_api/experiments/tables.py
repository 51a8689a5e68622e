"""The table of experiments."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class ExperimentRow(Row, table=True):
    __tablename__ = "experiments"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "namespace", "name"),
    )

    id: UUID = Field(primary_key=True)
    project_id: UUID = Field(foreign_key="projects.id", index=True)
    name: str = Field(sa_type=word(253))
    #: Decides whose pods may write; never changed.
    namespace: str = Field(sa_type=word(63))
    description: str = Field(sa_type=prose())
    tags: list[Any] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)


EXPERIMENTS = table_of(ExperimentRow)
