"""The table of artifacts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, document, prose, table_of, with_default, word

_LEAVING = text("leaving IS NOT NULL")


class ArtifactRow(Row, table=True):
    """`id` is ids.artifact_id(iteration_id, path, sha256); its content stays as it was first recorded.

    `backend`, `bucket` and `key` name an object that several rows of one experiment may share: see queries.find_user.
    """

    __tablename__ = "artifacts"
    # By time and not by path: a path may be longer than an index takes.
    __table_args__ = (
        Index(None, "iteration_id", "recorded_at", "id"),
        Index(None, "sha256", "iteration_id"),
        Index(None, "key"),
        Index(None, "deleted_at"),
        Index("ix_artifacts_leaving", "id", sqlite_where=_LEAVING, postgresql_where=_LEAVING),
    )

    id: UUID = Field(primary_key=True)
    iteration_id: UUID = Field(foreign_key="iterations.id")
    path: str = Field(sa_type=prose())
    size: int = Field(sa_type=BigInteger)
    sha256: str = Field(sa_type=word(64))
    crc32c: str = Field(sa_type=word(8))
    endpoint: str = Field(sa_type=prose())
    region: str = Field(sa_type=word(64))
    bucket: str = Field(sa_type=word(63))
    key: str = Field(sa_type=prose())
    #: What the object holds in place of the content; all four or none.
    stored_encoding: str | None = Field(sa_type=word(16), nullable=True)
    stored_size: int | None = Field(sa_type=BigInteger, nullable=True)
    stored_sha256: str | None = Field(sa_type=word(64), nullable=True)
    stored_crc32c: str | None = Field(sa_type=word(8), nullable=True)
    modified_at: datetime = Field(sa_type=UtcDateTime)
    suspect: bool
    #: The first that registered it; `pod_artifacts` has all of them.
    pod_uid: str = Field(sa_type=word(64))
    recorded_at: datetime = Field(sa_type=UtcDateTime)
    #: Of the object when it was verified; empty: not known.
    etag: str = Field(sa_type=word(256), sa_column_kwargs={"server_default": text("''")})
    #: What holds the bytes: a records.Backend.
    backend: str = Field(sa_type=word(16), sa_column_kwargs=with_default("s3"))
    content_type: str = Field(sa_type=prose(), sa_column_kwargs=with_default(""))
    description: str = Field(sa_type=prose(), sa_column_kwargs=with_default(""))
    tags: dict[str, str] = Field(sa_type=document(), sa_column_kwargs=with_default("{}"))
    created_by: str = Field(sa_type=word(400), sa_column_kwargs=with_default(""))
    #: When it was sent again after another content of its path; NULL: never.
    sent_again_at: datetime | None = Field(sa_type=UtcDateTime)
    #: Left out of lists and not served; its bytes go some time later. NULL: not deleted.
    deleted_at: datetime | None = Field(sa_type=UtcDateTime)
    #: Who deleted it; and the retention policy that wanted it, empty where a person did.
    deleted_by: str = Field(sa_type=word(400), sa_column_kwargs=with_default(""))
    deleted_policy: str = Field(sa_type=word(100), sa_column_kwargs=with_default(""))
    #: The backend that may still hold the bytes which the row has let go of; NULL: none.
    leaving: str | None = Field(sa_type=word(16), nullable=True)


ARTIFACTS = table_of(ArtifactRow)
