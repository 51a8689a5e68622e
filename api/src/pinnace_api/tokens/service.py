"""What may be done with tokens, and whose they are."""

from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from pinnace.records import AccessToken, Scope, TokenGrant, TokenPage, TokenWrite
from pinnace_api import credentials
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.identity import Account, Caller, Role, Visit
from pinnace_api.members.tables import GROUP_ROLES, USER_ROLES
from pinnace_api.paging import Cut
from pinnace_api.recollection import Recollection
from pinnace_api.refusals import Conflict, Forbidden, NotFound, Unavailable
from pinnace_api.tokens import queries
from pinnace_api.tokens.queries import Found, Kind
from pinnace_api.tokens.tables import TOKENS
from pinnace_api.users import queries as users
from pinnace_api.users.tables import USER_GROUPS, USERS
from pinnace_api.values import check_text

#: `last_used_at` is true to so much: not every request is to be a write.
USE_PRECISION: Final = timedelta(minutes=1)


class StoredAccounts:
    """The `Accounts` of the database, by digest remembered until anything changes that they are made of."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered = Recollection[str, Account]()
        database.watch((TOKENS, USERS, USER_GROUPS, USER_ROLES, GROUP_ROLES), self._remembered.forget)

    def recall(self, token: str) -> Account | None:
        account = self._remembered.recall(credentials.digest(token))
        return account if account is not None and account.expires_at > now() else None

    def account(self, token: str) -> Account | None:
        """One look at the database for an admin, two for others; a write at most once a minute for each token."""
        if not credentials.is_token(token):
            return None
        digest = credentials.digest(token)
        return self._remembered.ask(digest, lambda: self._find(digest))

    def _find(self, digest: str) -> Account | None:
        moment = now()
        with self._database.read() as connection:
            found = queries.find_digest(connection, digest)
            if found is None or not credentials.same(found.digest, digest):
                return None
            if found.disabled or found.record.expires_at <= moment:
                return None
            roles = {} if found.admin else queries.roles(connection, found.user)
        record = found.record
        if record.last_used_at is None or moment - record.last_used_at >= USE_PRECISION:
            self._use(record.id)
        return Account(
            id=found.user,
            name=record.user,
            admin=found.admin,
            scope=record.scope,
            token=record.id,
            session=record.session,
            expires_at=record.expires_at,
            roles=roles,
        )

    def _use(self, token: UUID) -> None:
        with suppress(Unavailable):  # the request itself may only read, and does not depend on this
            self._database.write(queries.use, token, now())


def own(caller: Caller | None) -> Account:
    """The account of a caller. Raises Forbidden when there is none behind it."""
    if caller is None or caller.account is None:
        raise Forbidden("this token belongs to no user", hint="log in as one: POST /api/v1/session")
    return caller.account


def put(database: Database, visit: Visit, token: UUID, write: TokenWrite) -> TokenGrant:
    """Make a personal token of the caller. Its secret is in the answer and nowhere else, so again is a Conflict."""
    account = own(visit.caller)
    check_text(write.name, "name")
    if not account.session:
        raise Forbidden("a personal token makes no tokens", hint="log in: a stolen token must not live on in another")
    if not account.scope.covers(write.scope):
        raise Forbidden(f"a token of the scope {account.scope} makes none of the scope {write.scope}", field="scope")
    secret = credentials.new_token()
    moment = now()

    def transaction(connection: Connection) -> Found | None:
        queries.remove_expired(connection, moment)
        is_new = queries.add(
            connection,
            token=token,
            kind=Kind.PERSONAL,
            digest=credentials.digest(secret),
            user=account.id,
            name=write.name,
            scope=write.scope,
            created_at=moment,
            expires_at=moment + timedelta(days=write.expires_in_days),
        )
        if not is_new:
            raise Conflict("this id has a token, whose secret is shown once", hint="make another one, and end this")
        note(connection, visit, "token.created", str(token), name=write.name, scope=write.scope.value)
        return queries.find(connection, token)

    found = database.write(transaction)
    assert found is not None
    return TokenGrant(token=secret, record=found.record)


def page(database: Database, visit: Visit, user: str | None, cut: Cut) -> TokenPage:
    """The caller's sessions and tokens, or those of `user` for an admin."""
    caller = visit.caller
    assert caller is not None
    with database.read() as connection:
        if user is None:
            return queries.page(connection, own(caller).id, now(), cut)
        check_text(user, "user")
        stored = users.find(connection, user)
        if stored is None or not (caller.role is Role.ADMIN or own(caller).id == stored.user.id):
            raise NotFound(f"there is no user {user!r}")
        return queries.page(connection, stored.user.id, now(), cut)


def remove(database: Database, visit: Visit, token: UUID) -> None:
    """End it, at once and everywhere. One that is not there, or that the caller may not see, is NotFound."""
    caller = visit.caller
    assert caller is not None

    def transaction(connection: Connection) -> None:
        found = queries.find(connection, token)
        mine = found is not None and caller.account is not None and found.user == caller.account.id
        if found is None or not (mine or caller.role is Role.ADMIN):
            raise NotFound(f"there is no token {token}")
        queries.remove(connection, token)
        note(connection, visit, "token.ended", str(token), user=found.record.user)

    database.write(transaction)


def open_session(connection: Connection, user: UUID, lifetime: timedelta) -> tuple[str, AccessToken]:
    """A new session, always with a new secret: none that came with the request is ever taken over."""
    secret = credentials.new_token()
    moment = now()
    token = uuid4()
    queries.remove_expired(connection, moment)
    queries.add(
        connection,
        token=token,
        kind=Kind.SESSION,
        digest=credentials.digest(secret),
        user=user,
        name="",
        scope=Scope.ADMIN,
        created_at=moment,
        expires_at=moment + lifetime,
    )
    found = queries.find(connection, token)
    assert found is not None
    return secret, found.record
