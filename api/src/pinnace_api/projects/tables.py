"""The table of projects."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, with_default, word


class ProjectRow(Row, table=True):
    """`id` is ids.project_id(name)."""

    __tablename__ = "projects"

    id: UUID = Field(primary_key=True)
    name: str = Field(sa_type=word(100), unique=True)
    description: str = Field(sa_type=prose())
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=word(400), sa_column_kwargs=with_default(""))
    tags: dict[str, str] = Field(sa_type=document(), sa_column_kwargs=with_default("{}"))
    lifecycle: str = Field(sa_type=word(16), sa_column_kwargs=with_default("ACTIVE"))
    #: Since when it lies in the trash; NULL: it does not.
    trashed_at: datetime | None = Field(sa_type=UtcDateTime)


PROJECTS = table_of(ProjectRow)
