"""Logins under way in SQL."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select

from pinnace_api.oidc.tables import LOGINS


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """`digest` is of what comes back, `browser` of the secret in the cookie, `challenge` of the program's verifier."""

    digest: str
    browser: str
    return_to: str
    port: int
    challenge: str
    expires_at: datetime
    user_id: UUID | None = None


def add(connection: Connection, login: Login) -> None:
    connection.execute(
        insert(LOGINS).inline(),
        {
            "digest": login.digest,
            "browser": login.browser,
            "return_to": login.return_to,
            "port": login.port,
            "challenge": login.challenge,
            "expires_at": login.expires_at,
            "user_id": login.user_id,
        },
    )


def take(connection: Connection, digest: str, moment: datetime) -> Login | None:
    """The login if it has not expired; nobody gets it a second time."""
    row = connection.execute(select(LOGINS).where(LOGINS.c.digest == digest)).one_or_none()
    gone = connection.execute(delete(LOGINS).where(LOGINS.c.digest == digest)).rowcount
    if row is None or gone != 1 or row.expires_at <= moment:
        return None
    return Login(
        digest=row.digest,
        browser=row.browser,
        return_to=row.return_to,
        port=row.port,
        challenge=row.challenge,
        expires_at=row.expires_at,
        user_id=row.user_id,
    )


def remove_expired(connection: Connection, moment: datetime) -> None:
    connection.execute(delete(LOGINS).where(LOGINS.c.expires_at <= moment))
