"""The table of retention policies."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Double, Index
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, with_default, word


class RetentionPolicyRow(Row, table=True):
    """`id` is made of project and name. Without a project it is for all that have none of its name."""

    __tablename__ = "retention_policies"
    __table_args__ = (Index(None, "project_id", "name"),)

    id: UUID = Field(primary_key=True)
    project_id: UUID | None = Field(foreign_key="projects.id")
    name: str = Field(sa_type=word(100))
    target: str = Field(sa_type=word(16))
    stages: list[str] = Field(sa_type=document(), sa_column_kwargs=with_default("[]"))
    older_than_days: float | None = Field(sa_type=Double)
    keep: int | None
    keep_by: str = Field(sa_type=prose())
    filter: str = Field(sa_type=prose())
    experiments: str = Field(sa_type=prose())
    enabled: bool
    description: str = Field(sa_type=prose())
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str = Field(sa_type=word(400))


RETENTION_POLICIES = table_of(RetentionPolicyRow)
