"""The table of models."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, word


class ModelRow(Row, table=True):
    """`id` is ids.model_id(project, name). Whoever writes to versions or aliases of a model holds its row."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: UUID = Field(primary_key=True)
    project_id: UUID = Field(foreign_key="projects.id")
    name: str = Field(sa_type=word(100))
    description: str = Field(sa_type=prose())
    tags: dict[str, str] = Field(sa_type=document())
    lifecycle: str = Field(sa_type=word(16))
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=word(400))
    #: The number given last. It only grows, whatever becomes of the version.
    last_number: int
    #: Since when it lies in the trash; NULL: it does not.
    trashed_at: datetime | None = Field(sa_type=UtcDateTime)


MODELS = table_of(ModelRow)
