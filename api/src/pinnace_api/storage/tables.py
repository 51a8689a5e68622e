"""The table of bytes that lie in the database."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, table_of, word


class InlineBlockRow(Row, table=True):
    """One block of a content. All blocks but a content's last are of one size; a content without bytes has one, empty.

    A table of its own, so that no list of artifacts ever reads bytes.
    """

    __tablename__ = "inline_blocks"

    key: str = Field(sa_type=word(64), primary_key=True)
    number: int = Field(primary_key=True)
    data: bytes = Field(sa_type=LargeBinary)
    written_at: datetime = Field(sa_type=UtcDateTime)


INLINE_BLOCKS = table_of(InlineBlockRow)
