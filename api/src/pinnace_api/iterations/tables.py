"""The table of iterations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, with_default, word


class IterationRow(Row, table=True):
    """`number` is the record's index, a word that rows have taken.

    `id` is ids.iteration_id(experiment_id, number) where a caller chose the number, and the caller's where the API did.
    """

    __tablename__ = "iterations"
    __table_args__ = (
        UniqueConstraint("experiment_id", "number"),
        Index(None, "parent_id", "number"),
        Index(None, "lease_until"),
    )

    id: UUID = Field(primary_key=True)
    experiment_id: UUID = Field(foreign_key="experiments.id")
    number: int
    parameters: dict[str, Any] = Field(sa_type=document())
    state: str = Field(sa_type=word(16))
    started_at: datetime | None = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    name: str = Field(sa_type=prose(), sa_column_kwargs=with_default(""))
    notes: str = Field(sa_type=prose(), sa_column_kwargs=with_default(""))
    error: str = Field(sa_type=prose(), sa_column_kwargs=with_default(""))
    parent_id: UUID | None = Field(foreign_key="iterations.id")
    created_by: str = Field(sa_type=word(400), sa_column_kwargs=with_default(""))
    tags: dict[str, str] = Field(sa_type=document(), sa_column_kwargs=with_default("{}"))
    environment: dict[str, Any] = Field(sa_type=document(), sa_column_kwargs=with_default("{}"))
    lifecycle: str = Field(sa_type=word(16), sa_column_kwargs=with_default("ACTIVE"))
    heartbeat_at: datetime | None = Field(sa_type=UtcDateTime)
    #: NULL: nobody has promised a sign of life.
    lease_seconds: int | None
    lease_until: datetime | None = Field(sa_type=UtcDateTime)
    #: Since when it lies in the trash; NULL: it does not, by itself.
    trashed_at: datetime | None = Field(sa_type=UtcDateTime)
    #: When retention removed what it had; it stays in the trash. NULL: never.
    purged_at: datetime | None = Field(sa_type=UtcDateTime)


ITERATIONS = table_of(IterationRow)
