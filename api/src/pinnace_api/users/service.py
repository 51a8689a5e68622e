"""What may be done with users."""

from typing import Any
from uuid import uuid4

import msgspec
from msgspec import UNSET

from pinnace.records import PasswordWrite, User, UserName, UserPage, UserPatch, UserWrite
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.credentials import Passwords
from pinnace_api.database import Connection, Database
from pinnace_api.identity import Caller, Role, Visit
from pinnace_api.paging import Cut
from pinnace_api.refusals import Conflict, Forbidden, NotFound
from pinnace_api.sessions import service as sessions
from pinnace_api.tokens import queries as tokens
from pinnace_api.tokens.queries import Kind
from pinnace_api.users import queries
from pinnace_api.users.queries import Stored
from pinnace_api.values import check_name, check_text


def put(database: Database, passwords: Passwords, visit: Visit, name: str, write: UserWrite) -> tuple[User, bool]:
    """Create the user, or agree when there is the very same. The bool says whether it is new."""
    check_name(name, UserName, "a user's name", "user", made_of="a-z 0-9 - . _ @ +")
    check_text(write.display_name, "display_name")
    hashed = passwords.hashed(write.password, name=name)
    user = User(
        id=uuid4(),
        name=name,
        display_name=write.display_name,
        admin=write.admin,
        disabled=False,
        groups=tuple(sorted(set(write.groups))),
        created_at=now(),
    )

    def transaction(connection: Connection) -> Stored | None:
        if queries.add(connection, user, password=hashed):
            note(connection, visit, "user.created", f"user:{name}", admin=user.admin, groups=" ".join(user.groups))
            return None
        return _found(connection, name)

    stored = database.write(transaction)
    if stored is None:
        return user, True
    for field in ("display_name", "admin", "groups"):
        if getattr(stored.user, field) != getattr(user, field):
            raise Conflict(f"there is a user {name!r} with another {field}", field=field, hint="PATCH changes users")
    if not passwords.verify(stored.password, write.password):
        raise Conflict(f"there is a user {name!r} with another password", field="password")
    return stored.user, False


def get(database: Database, visit: Visit, name: str) -> User:
    check_text(name, "user")
    with database.read() as connection:
        return _seen(connection, visit.caller, name).user


def page(database: Database, cut: Cut) -> UserPage:
    with database.read() as connection:
        return queries.page(connection, cut)


def patch(database: Database, visit: Visit, name: str, patch: UserPatch) -> User:
    """Users change their own display name; everything else is an admin's. The last admin stays one."""
    check_text(name, "user")
    if patch.display_name is not UNSET:
        check_text(patch.display_name, "display_name")

    def transaction(connection: Connection) -> User:
        stored = _seen(connection, visit.caller, name)
        sent = {field: value for field, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
        if raised := sorted(sent.keys() - {"display_name"}):
            _check_admin(visit.caller, raised[0])
        if patch.disabled is True or patch.admin is False:
            _check_not_last(connection, stored)
        groups = sent.pop("groups", None)
        queries.change(connection, stored.user.id, sent)
        if groups is not None:
            queries.set_groups(connection, stored.user.id, groups, external=False)
        if patch.disabled is True:
            tokens.remove_all(connection, stored.user.id, Kind.SESSION, Kind.PERSONAL)
        changes: dict[str, Any] = {**sent, **({} if groups is None else {"groups": " ".join(groups)})}
        if changes:
            note(connection, visit, "user.changed", f"user:{name}", **changes)
        return _found(connection, name).user

    return database.write(transaction)


def set_password(database: Database, passwords: Passwords, visit: Visit, name: str, write: PasswordWrite) -> None:
    """Ends all sessions of the user. One's own needs the current one; another's needs an admin."""
    check_text(name, "user")
    caller = visit.caller
    with database.read() as connection:
        stored = _seen(connection, caller, name)
    if stored.user.issuer:
        raise Conflict(f"{name!r} logs in at an identity provider and has no password here")
    if caller is not None and caller.account is not None and caller.account.id == stored.user.id:
        sessions.check_current(database, passwords, visit, stored.user.id, write.current)
    hashed = passwords.hashed(write.new, name=name, field="new")
    kinds = (Kind.SESSION, Kind.PERSONAL) if write.revoke_tokens else (Kind.SESSION,)

    def transaction(connection: Connection) -> None:
        queries.change(connection, stored.user.id, {"password": hashed})
        ended = tokens.remove_all(connection, stored.user.id, *kinds)
        note(connection, visit, "password.changed", f"user:{name}", ended=ended)

    database.write(transaction)


def remove(database: Database, visit: Visit, name: str) -> None:
    """With roles, sessions and tokens; what the user recorded stays."""
    check_text(name, "user")

    def transaction(connection: Connection) -> None:
        stored = _found(connection, name)
        _check_not_last(connection, stored)
        queries.remove(connection, stored.user.id)
        note(connection, visit, "user.removed", f"user:{name}")

    database.write(transaction)


def _found(connection: Connection, name: str) -> Stored:
    stored = queries.find(connection, name)
    if stored is None:
        raise NotFound(f"there is no user {name!r}")
    return stored


def _seen(connection: Connection, caller: Caller | None, name: str) -> Stored:
    """The user if the caller may see it: an admin everybody, a user nobody else."""
    if caller is None or not (
        caller.role is Role.ADMIN or (caller.account is not None and caller.account.name == name)
    ):
        raise NotFound(f"there is no user {name!r}")
    return _found(connection, name)


def _check_admin(caller: Caller | None, field: str) -> None:
    if caller is None or caller.role is not Role.ADMIN:
        raise Forbidden("only an admin changes this, and nobody raises himself", field=field)


def _check_not_last(connection: Connection, stored: Stored) -> None:
    if queries.admins_for_update(connection) == {stored.user.id}:
        raise Conflict(f"{stored.user.name!r} is the last admin", hint="make another user an admin first")
