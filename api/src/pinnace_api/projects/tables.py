"""The table of projects."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class ProjectRow(Row, table=True):
    """`id` is ids.project_id(name)."""

    __tablename__ = "projects"

    id: UUID = Field(primary_key=True)
    name: str = Field(sa_type=word(100), unique=True)
    description: str = Field(sa_type=prose())
    created_at: datetime = Field(sa_type=UtcDateTime)


PROJECTS = table_of(ProjectRow)
