"""Users in SQL."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from pinnace.records import User, UserPage
from pinnace_api import paging
from pinnace_api.members.tables import USER_ROLES
from pinnace_api.oidc.tables import LOGINS
from pinnace_api.paging import Cut, Order
from pinnace_api.tables import insert_missing
from pinnace_api.tokens.tables import TOKENS
from pinnace_api.users.tables import USER_GROUPS, USERS

#: What the name of a group that comes from an identity provider begins with.
EXTERNAL = "oidc:"

_BY_NAME = select(USERS).where(USERS.c.name == bindparam("name"))
_BY_ID = select(USERS).where(USERS.c.id == bindparam("id"))
_BY_SUBJECT = select(USERS).where(USERS.c.issuer == bindparam("issuer"), USERS.c.subject == bindparam("subject"))
_ANY = select(USERS.c.id).limit(1)
_ADMINS = select(USERS.c.id).where(USERS.c.admin, ~USERS.c.disabled).with_for_update()
_GROUPS = select(USER_GROUPS.c.group_name).where(USER_GROUPS.c.user_id == bindparam("id"))
_ORDER = Order(columns=(USERS.c.name,), key=tuple[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A user with what nobody is shown."""

    user: User
    password: str


def add(connection: Connection, user: User, *, password: str = "", subject: str | None = None) -> bool:
    """Whether it was new, by name and by the provider's subject."""
    row = {
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "password": password,
        "admin": user.admin,
        "disabled": user.disabled,
        "issuer": user.issuer or None,
        "subject": subject,
        "created_at": user.created_at,
    }
    if insert_missing(connection, USERS, [row]) == 0:
        return False
    _add_groups(connection, user.id, user.groups)
    return True


def change(connection: Connection, user: UUID, values: Mapping[str, Any]) -> None:
    if values:
        connection.execute(update(USERS).where(USERS.c.id == user).values(**values))


def set_groups(connection: Connection, user: UUID, groups: Iterable[str], *, external: bool) -> None:
    """Replace the groups that are kept here, or else those that came from the provider."""
    theirs = USER_GROUPS.c.group_name.startswith(EXTERNAL, autoescape=True)
    connection.execute(delete(USER_GROUPS).where(USER_GROUPS.c.user_id == user, theirs if external else ~theirs))
    _add_groups(connection, user, groups)


def remove(connection: Connection, user: UUID) -> None:
    """With everything that is theirs alone."""
    for table in (USER_GROUPS, USER_ROLES, TOKENS, LOGINS):
        connection.execute(delete(table).where(table.c.user_id == user))
    connection.execute(delete(USERS).where(USERS.c.id == user))


def exist(connection: Connection) -> bool:
    """Whether there is any user."""
    return connection.execute(_ANY).first() is not None


def admins_for_update(connection: Connection) -> Collection[UUID]:
    """Those who can log in; held until the transaction ends."""
    return set(connection.execute(_ADMINS).scalars())


def find(connection: Connection, name: str) -> Stored | None:
    return _stored(connection, connection.execute(_BY_NAME, {"name": name}).one_or_none())


def find_id(connection: Connection, user: UUID) -> Stored | None:
    return _stored(connection, connection.execute(_BY_ID, {"id": user}).one_or_none())


def find_subject(connection: Connection, issuer: str, subject: str) -> Stored | None:
    row = connection.execute(_BY_SUBJECT, {"issuer": issuer, "subject": subject}).one_or_none()
    return _stored(connection, row)


def page(connection: Connection, cut: Cut) -> UserPage:
    part = paging.fetch(connection, select(USERS), _ORDER, cut)
    groups: dict[UUID, list[str]] = {row.id: [] for row in part.rows}
    for user, group in connection.execute(select(USER_GROUPS).where(USER_GROUPS.c.user_id.in_(groups))):
        groups[user].append(group)
    return UserPage(items=tuple(_record(row, groups[row.id]) for row in part.rows), next=part.next)


def _add_groups(connection: Connection, user: UUID, groups: Iterable[str]) -> None:
    rows = [{"user_id": user, "group_name": group} for group in sorted(set(groups))]
    if rows:
        connection.execute(insert(USER_GROUPS), rows)


def _stored(connection: Connection, row: Row[Any] | None) -> Stored | None:
    if row is None:
        return None
    groups = connection.execute(_GROUPS, {"id": row.id}).scalars().all()
    return Stored(user=_record(row, groups), password=row.password)


def _record(row: Row[Any], groups: Iterable[str]) -> User:
    return User(
        id=row.id,
        name=row.name,
        display_name=row.display_name,
        admin=row.admin,
        disabled=row.disabled,
        issuer=row.issuer or "",
        groups=tuple(sorted(groups)),
        created_at=row.created_at,
    )
