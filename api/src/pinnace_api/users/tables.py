"""The tables of users and of the groups they are in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class UserRow(Row, table=True):
    """`issuer` and `subject` are an identity provider's name for the user; without them there is a password."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: UUID = Field(primary_key=True)
    name: str = Field(sa_type=word(100), unique=True)
    display_name: str = Field(sa_type=prose())
    #: As argon2 writes it; empty: nobody can log in with a password.
    password: str = Field(sa_type=prose())
    admin: bool
    disabled: bool
    issuer: str | None = Field(sa_type=word(512))
    subject: str | None = Field(sa_type=word(255))
    created_at: datetime = Field(sa_type=UtcDateTime)


class UserGroupRow(Row, table=True):
    """Groups are names. `oidc:NAME` come from the provider at each login; all others are kept here."""

    __tablename__ = "user_groups"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id")
    group_name: str = Field(primary_key=True, sa_type=word(256))


USERS = table_of(UserRow)
USER_GROUPS = table_of(UserGroupRow)
