"""The table of experiments."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, with_default, word


class ExperimentRow(Row, table=True):
    """`declared` is what the last PUT said of description and tags; what a PATCH said stands in their own columns."""

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
    tags: dict[str, str] = Field(sa_type=document())
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=word(400), sa_column_kwargs=with_default(""))
    declared: dict[str, Any] = Field(sa_type=document(), sa_column_kwargs=with_default("{}"))
    status: str = Field(sa_type=word(16), sa_column_kwargs=with_default("OPEN"))
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    lifecycle: str = Field(sa_type=word(16), sa_column_kwargs=with_default("ACTIVE"))
    #: Since when it lies in the trash; NULL: it does not.
    trashed_at: datetime | None = Field(sa_type=UtcDateTime)


EXPERIMENTS = table_of(ExperimentRow)
