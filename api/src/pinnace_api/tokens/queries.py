"""Tokens in SQL."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, delete, select, union_all, update

from pinnace.records import AccessToken, ProjectRole, Scope, TokenPage
from pinnace_api import paging
from pinnace_api.members.tables import GROUP_ROLES, USER_ROLES
from pinnace_api.paging import Cut, Moment, Order
from pinnace_api.tables import insert_missing
from pinnace_api.tokens.tables import TOKENS
from pinnace_api.users.tables import USER_GROUPS, USERS

_SELECT = select(TOKENS, USERS.c.name.label("user"), USERS.c.admin, USERS.c.disabled).join_from(TOKENS, USERS)
_BY_DIGEST = _SELECT.where(TOKENS.c.digest == bindparam("digest"))
_BY_ID = _SELECT.where(TOKENS.c.id == bindparam("id"))
_ROLES = union_all(
    select(USER_ROLES.c.project_id, USER_ROLES.c.role).where(USER_ROLES.c.user_id == bindparam("user")),
    select(GROUP_ROLES.c.project_id, GROUP_ROLES.c.role)
    .join_from(GROUP_ROLES, USER_GROUPS, GROUP_ROLES.c.group_name == USER_GROUPS.c.group_name)
    .where(USER_GROUPS.c.user_id == bindparam("user")),
)
_ORDER = Order(columns=(TOKENS.c.created_at, TOKENS.c.id), key=tuple[Moment, UUID], descending=True)


class Kind(StrEnum):
    """What a token is."""

    #: From a login.
    SESSION = "session"
    #: Made by a user for a program.
    PERSONAL = "personal"
    #: Makes the first admin.
    SETUP = "setup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A token that is there, which does not mean that it is good."""

    record: AccessToken
    digest: str
    user: UUID
    admin: bool
    disabled: bool


def add(
    connection: Connection,
    *,
    token: UUID,
    kind: Kind,
    digest: str,
    user: UUID | None,
    name: str,
    scope: Scope,
    created_at: datetime,
    expires_at: datetime,
) -> bool:
    """Whether its id was new."""
    row = {
        "id": token,
        "kind": kind,
        "digest": digest,
        "user_id": user,
        "name": name,
        "scope": scope,
        "created_at": created_at,
        "expires_at": expires_at,
        "last_used_at": None,
    }
    return insert_missing(connection, TOKENS, [row]) == 1


def find_digest(connection: Connection, digest: str) -> Found | None:
    return _found(connection.execute(_BY_DIGEST, {"digest": digest}).one_or_none())


def find(connection: Connection, token: UUID) -> Found | None:
    return _found(connection.execute(_BY_ID, {"id": token}).one_or_none())


def roles(connection: Connection, user: UUID) -> dict[UUID, ProjectRole]:
    """What the user is to each project, the highest of what applies."""
    highest: dict[UUID, ProjectRole] = {}
    for project, text in connection.execute(_ROLES, {"user": user}):
        role = ProjectRole(text)
        if project not in highest or role.covers(highest[project]):
            highest[project] = role
    return highest


def use(connection: Connection, token: UUID, moment: datetime) -> None:
    connection.execute(update(TOKENS).where(TOKENS.c.id == token).values(last_used_at=moment))


def page(connection: Connection, user: UUID, moment: datetime, cut: Cut) -> TokenPage:
    """Those that work at `moment`."""
    statement = _SELECT.where(TOKENS.c.user_id == user, TOKENS.c.expires_at > moment)
    part = paging.fetch(connection, statement, _ORDER, cut)
    return TokenPage(items=tuple(_record(row) for row in part.rows), next=part.next)


def remove(connection: Connection, token: UUID) -> None:
    connection.execute(delete(TOKENS).where(TOKENS.c.id == token))


def remove_all(connection: Connection, user: UUID, *kinds: Kind) -> int:
    """All of the user's tokens of these kinds; returns how many there were."""
    return connection.execute(delete(TOKENS).where(TOKENS.c.user_id == user, TOKENS.c.kind.in_(kinds))).rowcount


def remove_expired(connection: Connection, moment: datetime) -> None:
    connection.execute(delete(TOKENS).where(TOKENS.c.expires_at <= moment))


def take_setup(connection: Connection, digest: str, moment: datetime) -> bool:
    """Whether it is a setup token; if so, there is none any more, of any digest."""
    gone = connection.execute(
        delete(TOKENS).where(TOKENS.c.kind == Kind.SETUP, TOKENS.c.digest == digest, TOKENS.c.expires_at > moment)
    ).rowcount
    if gone:
        connection.execute(delete(TOKENS).where(TOKENS.c.kind == Kind.SETUP))
    return bool(gone)


def _found(row: Row[Any] | None) -> Found | None:
    if row is None:
        return None
    return Found(record=_record(row), digest=row.digest, user=row.user_id, admin=row.admin, disabled=row.disabled)


def _record(row: Row[Any]) -> AccessToken:
    return AccessToken(
        id=row.id,
        user=row.user,
        name=row.name,
        scope=Scope(row.scope),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        session=row.kind == Kind.SESSION,
    )
