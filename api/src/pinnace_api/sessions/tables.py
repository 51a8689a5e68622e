"""The table of failed attempts to log in, which all replicas share."""

from datetime import datetime

from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, table_of, word


class AttemptRow(Row, table=True):
    """`key` is a digest of a name or an address: what somebody typed as a name may be a password."""

    __tablename__ = "login_attempts"

    key: str = Field(primary_key=True, sa_type=word(64))
    failures: int
    last_at: datetime = Field(sa_type=UtcDateTime)
    blocked_until: datetime = Field(sa_type=UtcDateTime)


ATTEMPTS = table_of(AttemptRow)
