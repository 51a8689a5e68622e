"""The table of tokens."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class TokenRow(Row, table=True):
    """A row is a token that works until it expires; ending it deletes the row, and the audit remembers."""

    __tablename__ = "tokens"

    id: UUID = Field(primary_key=True)
    #: `session`, `personal`, or `setup`: the last has no user yet.
    kind: str = Field(sa_type=word(16))
    #: credentials.digest of the token.
    digest: str = Field(sa_type=word(64), unique=True)
    user_id: UUID | None = Field(foreign_key="users.id", index=True)
    name: str = Field(sa_type=prose())
    scope: str = Field(sa_type=word(16))
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(sa_type=UtcDateTime)


TOKENS = table_of(TokenRow)
