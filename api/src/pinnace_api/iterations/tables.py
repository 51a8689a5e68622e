"""The table of iterations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, UniqueConstraint
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, table_of, word


class IterationRow(Row, table=True):
    """`id` is ids.iteration_id(experiment_id, number); `number` is the record's index, a word that rows have taken."""

    __tablename__ = "iterations"
    __table_args__ = (UniqueConstraint("experiment_id", "number"),)

    id: UUID = Field(primary_key=True)
    experiment_id: UUID = Field(foreign_key="experiments.id")
    number: int
    parameters: dict[str, Any] = Field(sa_type=JSON)
    state: str = Field(sa_type=word(16))
    started_at: datetime | None = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


ITERATIONS = table_of(IterationRow)
