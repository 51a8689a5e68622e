"""The table of logins that are under way at the identity provider."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from pinnace_api.tables import Row, UtcDateTime, prose, table_of, word


class LoginRow(Row, table=True):
    """From the way to the provider until its answer was used, once. Holds digests only.

    Nonce and verifier follow from the secret in the browser's cookie, so only that browser can end what it began.
    """

    __tablename__ = "oidc_logins"

    #: Of the state on the way out; of the one-time code for a waiting program on the way back.
    digest: str = Field(primary_key=True, sa_type=word(64))
    browser: str = Field(sa_type=word(64))
    return_to: str = Field(sa_type=prose())
    #: Where a program waits on the user's computer for its code; 0: it was the page.
    port: int
    challenge: str = Field(sa_type=word(43))
    expires_at: datetime = Field(sa_type=UtcDateTime)
    #: Who it turned out to be, while the code waits.
    user_id: UUID | None = Field(foreign_key="users.id")


LOGINS = table_of(LoginRow)
