"""The tables of pods, and of which pod registered which artifact."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, ForeignKeyConstraint, Uuid
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, table_of, word


class PodRow(Row, table=True):
    """One pod of an iteration, from its first report or artifact on.

    The `recorded` columns are what `pod_artifacts` comes to; NULL when that has changed since.
    """

    __tablename__ = "pods"

    iteration_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("iterations.id"), primary_key=True))
    pod_uid: str = Field(sa_column=Column(word(64), primary_key=True))
    #: As Kubernetes calls it; empty when nobody told.
    name: str = Field(sa_type=word(253))
    report: dict[str, Any] | None = Field(sa_column=Column(JSON(none_as_null=True)))
    #: Of the report; -1 before the first.
    sequence: int = Field(sa_type=BigInteger)
    reported_at: datetime | None = Field(sa_type=UtcDateTime)
    recorded_count: int | None = Field(sa_type=BigInteger)
    recorded_sha256: str | None = Field(sa_type=word(64))
    recorded_bytes: int | None = Field(sa_type=BigInteger)


class PodArtifactRow(Row, table=True):
    """The pod registered the artifact. Content that two pods shipped is one artifact with two of these."""

    __tablename__ = "pod_artifacts"
    __table_args__ = (
        ForeignKeyConstraint(["iteration_id", "pod_uid"], ["pods.iteration_id", "pods.pod_uid"]),
        {"sqlite_with_rowid": False},
    )

    iteration_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    pod_uid: str = Field(sa_column=Column(word(64), primary_key=True))
    artifact_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("artifacts.id"), primary_key=True, index=True))


PODS = table_of(PodRow)
POD_ARTIFACTS = table_of(PodArtifactRow)
