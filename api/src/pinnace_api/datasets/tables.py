"""The tables of datasets and of their uses."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, word


class DatasetRow(Row, table=True):
    """`id` is ids.dataset_id(project, name, digest)."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "project_id", "name"),
    )

    id: UUID = Field(primary_key=True)
    project_id: UUID = Field(foreign_key="projects.id")
    name: str = Field(sa_type=word(250))
    digest: str = Field(sa_type=word(200))
    source: str = Field(sa_type=prose())
    rows: int | None = Field(sa_type=BigInteger)
    columns: int | None = Field(sa_type=BigInteger)
    bytes: int | None = Field(sa_type=BigInteger)
    features: dict[str, Any] = Field(sa_type=document())
    description: str = Field(sa_type=prose())
    tags: dict[str, str] = Field(sa_type=document())
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=word(400))


class DatasetUseRow(Row, table=True):
    """An iteration has one role towards a dataset: one that it reads and leaves as it is, it has not produced."""

    __tablename__ = "dataset_uses"
    __table_args__ = (Index(None, "dataset_id", "iteration_id"),)

    iteration_id: UUID = Field(foreign_key="iterations.id", primary_key=True)
    dataset_id: UUID = Field(foreign_key="datasets.id", primary_key=True)
    role: str = Field(sa_type=word(16))
    artifact_id: UUID | None = Field(foreign_key="artifacts.id", index=True)
    context: str = Field(sa_type=prose())
    used_at: datetime = Field(sa_type=UtcDateTime)


DATASETS = table_of(DatasetRow)
DATASET_USES = table_of(DatasetUseRow)
