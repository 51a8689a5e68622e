"""The tables of versions of models, of their aliases and of the changes of their stages."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, counter, document, prose, table_of, word

_IN_PRODUCTION = text("stage = 'PRODUCTION'")


class ModelVersionRow(Row, table=True):
    """What a version points at can't be deleted while its row is there: see protection.py."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index(
            "ix_model_versions_in_production",
            "model_id",
            unique=True,
            sqlite_where=_IN_PRODUCTION,
            postgresql_where=_IN_PRODUCTION,
        ),
        Index(None, "iteration_id", "created_at", "id"),
        Index(None, "artifact_id", "created_at", "id"),
    )

    id: UUID = Field(primary_key=True)
    model_id: UUID = Field(foreign_key="models.id")
    number: int
    iteration_id: UUID = Field(foreign_key="iterations.id")
    artifact_id: UUID | None = Field(foreign_key="artifacts.id")
    stage: str = Field(sa_type=word(16))
    description: str = Field(sa_type=prose())
    tags: dict[str, str] = Field(sa_type=document())
    lifecycle: str = Field(sa_type=word(16))
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=word(400))
    #: Since when it lies in the trash; NULL: it does not.
    trashed_at: datetime | None = Field(sa_type=UtcDateTime)


class ModelAliasRow(Row, table=True):
    __tablename__ = "model_aliases"

    model_id: UUID = Field(foreign_key="models.id", primary_key=True)
    alias: str = Field(sa_type=word(100), primary_key=True)
    version_id: UUID = Field(foreign_key="model_versions.id", index=True)
    moved_at: datetime = Field(sa_type=UtcDateTime)
    moved_by: str = Field(sa_type=word(400))


class ModelTransitionRow(Row, table=True):
    """Added and never changed."""

    __tablename__ = "model_transitions"
    __table_args__ = (Index(None, "version_id", "id"),)

    id: int | None = Field(primary_key=True, sa_type=counter())
    version_id: UUID = Field(foreign_key="model_versions.id")
    before: str = Field(sa_type=word(16))
    after: str = Field(sa_type=word(16))
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=word(400))
    comment: str = Field(sa_type=prose())


MODEL_VERSIONS = table_of(ModelVersionRow)
MODEL_ALIASES = table_of(ModelAliasRow)
MODEL_TRANSITIONS = table_of(ModelTransitionRow)
