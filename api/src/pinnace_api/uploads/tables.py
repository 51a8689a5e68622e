"""The tables of uploads under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, false
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class UploadRow(Row, table=True):
    """`received` bytes have arrived, in the pieces; `artifact_id` is what became of them, NULL before the end."""

    __tablename__ = "uploads"
    __table_args__ = (Index(None, "expires_at"),)

    id: UUID = Field(primary_key=True)
    iteration_id: UUID = Field(foreign_key="iterations.id")
    path: str = Field(sa_type=prose())
    content_type: str = Field(sa_type=prose())
    #: As it was announced; NULL when it was not.
    size: int | None = Field(sa_type=BigInteger)
    #: As it was announced; empty when it was not.
    sha256: str = Field(sa_type=word(64))
    received: int = Field(sa_type=BigInteger)
    created_by: str = Field(sa_type=word(400))
    expires_at: datetime = Field(sa_type=UtcDateTime)
    artifact_id: UUID | None
    #: What the artifact is to say of itself; NULL: it was not announced.
    modified_at: datetime | None = Field(sa_type=UtcDateTime)
    suspect: bool = Field(sa_column_kwargs={"server_default": false()})


class UploadPieceRow(Row, table=True):
    """Bytes of an upload from `start` on, and where they lie until it is complete."""

    __tablename__ = "upload_pieces"
    __table_args__ = (Index(None, "key"),)

    upload_id: UUID = Field(primary_key=True, foreign_key="uploads.id")
    start: int = Field(primary_key=True, sa_type=BigInteger)
    size: int = Field(sa_type=BigInteger)
    backend: str = Field(sa_type=word(16))
    endpoint: str = Field(sa_type=prose())
    region: str = Field(sa_type=word(64))
    bucket: str = Field(sa_type=word(63))
    key: str = Field(sa_type=prose())


UPLOADS = table_of(UploadRow)
UPLOAD_PIECES = table_of(UploadPieceRow)
