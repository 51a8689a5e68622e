"""Logging in and out."""

from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from pinnace.records import LoginWrite, Scope, SessionGrant, SetupWrite, User, Whoami
from pinnace_api import credentials
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.credentials import Passwords
from pinnace_api.database import Connection, Database
from pinnace_api.identity import Visit
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import TooManyAttempts, Unauthorized
from pinnace_api.sessions import queries
from pinnace_api.sessions.throttle import FREE_BY_ADDRESS, FREE_BY_NAME
from pinnace_api.tokens import queries as tokens
from pinnace_api.tokens import service as token_service
from pinnace_api.tokens.queries import Kind
from pinnace_api.users import queries as users
from pinnace_api.values import check_text

SETUP_LIFETIME: Final = timedelta(days=1)


def log_in(
    database: Database, passwords: Passwords, visit: Visit, write: LoginWrite, lifetime: timedelta
) -> tuple[SessionGrant, str]:
    """A new session and its token. A wrong name, a wrong password and a disabled user are one Unauthorized.

    Raises TooManyAttempts, also for the right password, while the name or the address has to wait.
    """
    name = write.name
    check_text(name, "name")
    attempt = _begin(database, name, visit.address)
    with database.read() as connection:
        stored = users.find(connection, name)
    right = passwords.verify(stored.password if stored else "", write.password)
    if stored is None or not right or stored.user.disabled:
        _failed(database, visit, stored.user.name if stored else "unknown", attempt)
        raise Unauthorized("the name or the password is wrong")
    fresh = passwords.rehashed(write.password) if passwords.outdated(stored.password) else ""

    def transaction(connection: Connection) -> tuple[SessionGrant, str]:
        again = users.find_id(connection, stored.user.id)
        if again is None or again.user.disabled or again.password != stored.password:
            raise Unauthorized("the name or the password is wrong")
        if fresh:
            users.change(connection, stored.user.id, {"password": fresh})
        _succeeded(connection, name, visit.address)
        return granted(connection, visit, stored.user, lifetime, how="password")

    return database.write(transaction)


def granted(
    connection: Connection, visit: Visit, user: User, lifetime: timedelta, *, how: str
) -> tuple[SessionGrant, str]:
    """A session of the user, who has proved to be that."""
    secret, record = token_service.open_session(connection, user.id, lifetime)
    known = replace(visit, name=f"user:{user.name}")
    note(connection, known, "login.succeeded", f"user:{user.name}", how=how)
    return SessionGrant(csrf=credentials.csrf(secret), expires_at=record.expires_at, user=user), secret


def check_current(database: Database, passwords: Passwords, visit: Visit, user: UUID, password: str) -> None:
    """Raise Unauthorized unless it is the user's password; who holds a session may not try for ever either."""
    with database.read() as connection:
        stored = users.find_id(connection, user)
    name = stored.user.name if stored else ""
    attempt = _begin(database, name, visit.address)
    if not passwords.verify(stored.password if stored else "", password):
        _failed(database, visit, name, attempt)
        raise Unauthorized("the current password is wrong", field="current")

    database.write(_succeeded, name, visit.address)


def whoami(database: Database, visit: Visit, csrf: str) -> Whoami:
    caller = visit.caller
    assert caller is not None
    if caller.account is None:
        return Whoami(role=caller.role.value, scope=Scope.ADMIN)
    roles = caller.account.roles
    with database.read() as connection:
        stored = users.find_id(connection, caller.account.id)
        names = projects.names(connection, roles)
    return Whoami(
        role=caller.role.value,
        scope=caller.scope,
        user=None if stored is None else stored.user,
        expires_at=caller.account.expires_at,
        csrf=csrf,
        projects={names[project]: role for project, role in roles.items() if project in names},
    )


def log_out(database: Database, visit: Visit) -> None:
    """End the very token of this request."""
    account = token_service.own(visit.caller)

    def transaction(connection: Connection) -> None:
        tokens.remove(connection, account.token)
        note(connection, visit, "logout", f"user:{account.name}")

    database.write(transaction)


def log_out_everywhere(database: Database, visit: Visit) -> None:
    """End all sessions of the user; personal tokens stay."""
    account = token_service.own(visit.caller)

    def transaction(connection: Connection) -> None:
        ended = tokens.remove_all(connection, account.id, Kind.SESSION)
        note(connection, visit, "logout.everywhere", f"user:{account.name}", sessions=ended)

    database.write(transaction)


def forget_session(database: Database, token: str) -> None:
    """End the session that a browser had when it logged in anew; nothing happens when it is none."""
    if not credentials.is_token(token):
        return

    def transaction(connection: Connection) -> None:
        found = tokens.find_digest(connection, credentials.digest(token))
        if found is not None and found.record.session:
            tokens.remove(connection, found.record.id)

    database.write(transaction)


def offer_setup(database: Database) -> str:
    """A token that makes the first admin, once, within a day; empty when there is a user already."""
    secret = credentials.new_token()
    moment = now()

    def transaction(connection: Connection) -> bool:
        if users.exist(connection):
            return False
        tokens.remove_expired(connection, moment)
        tokens.add(
            connection,
            token=uuid4(),
            kind=Kind.SETUP,
            digest=credentials.digest(secret),
            user=None,
            name="setup",
            scope=Scope.ADMIN,
            created_at=moment,
            expires_at=moment + SETUP_LIFETIME,
        )
        return True

    offered = database.write(transaction)
    return secret if offered else ""


def set_up(
    database: Database, passwords: Passwords, visit: Visit, write: SetupWrite, lifetime: timedelta
) -> tuple[SessionGrant, str]:
    """The first admin, and a session of theirs. Raises Unauthorized when the token is wrong, used or too old."""
    check_text(write.display_name, "display_name")
    attempt = _begin(database, "", visit.address)
    password = passwords.hashed(write.password, name=write.name)
    user = User(
        id=uuid4(), name=write.name, display_name=write.display_name, admin=True, disabled=False, created_at=now()
    )

    def transaction(connection: Connection) -> tuple[SessionGrant, str] | None:
        if tokens.take_setup(connection, credentials.digest(write.token), now()) and not users.exist(connection):
            users.add(connection, user, password=password)
            note(connection, visit, "setup.done", f"user:{user.name}")
            _succeeded(connection, "", visit.address)
            return granted(connection, visit, user, lifetime, how="setup")
        return None

    done = database.write(transaction)
    if done is not None:
        return done
    _failed(database, visit, "setup", attempt)
    raise Unauthorized("this setup token is wrong, was used, or is too old", hint="restart the API for a new one")


def _begin(database: Database, name: str, address: str) -> timedelta:
    """Count the attempt as failed before it is looked at; returns the wait that follows if it stays so."""
    moment = now()

    def transaction(connection: Connection) -> timedelta:
        waits: list[timedelta] = []
        queries.forget_old(connection, moment)
        for key, free in _keys(name, address):
            known = queries.hold(connection, key, moment)
            if (wait := known.wait(moment)) > timedelta(0):
                raise TooManyAttempts(wait)
            after = known.failed(moment, free)
            queries.keep(connection, key, after)
            waits.append(after.wait(moment))
        return max(waits)

    return database.write(transaction)


def _succeeded(connection: Connection, name: str, address: str) -> None:
    moment = now()
    for key, free in _keys(name, address):
        known = queries.hold(connection, key, moment)
        queries.keep(connection, key, known.succeeded(moment, forgive=free == FREE_BY_NAME))


def _failed(database: Database, visit: Visit, subject: str, wait: timedelta) -> None:

    seconds = int(wait.total_seconds())
    database.write(note, visit, "login.failed", f"user:{subject}", wait_seconds=seconds)


def _keys(name: str, address: str) -> list[tuple[str, int]]:
    """In one order for everybody, so that no two wait for each other."""
    keys = [(f"name:{name}", FREE_BY_NAME), (f"address:{address}", FREE_BY_ADDRESS)]
    return sorted((credentials.digest(key), free) for key, free in keys)
