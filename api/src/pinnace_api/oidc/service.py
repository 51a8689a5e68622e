"""Logging in at the identity provider: out, back, and for a program that waits on the user's computer."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

from pinnace.records import ExchangeWrite, SessionGrant, User
from pinnace_api import credentials
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.identity import Visit
from pinnace_api.oidc import queries
from pinnace_api.oidc.admission import Admission, admission
from pinnace_api.oidc.provider import Provider
from pinnace_api.oidc.queries import Login
from pinnace_api.refusals import Forbidden, Invalid, Unauthorized
from pinnace_api.sessions.service import granted
from pinnace_api.settings import ApiSettings
from pinnace_api.users import queries as users

#: From the way out to the way back.
LOGIN_LIFETIME: Final = timedelta(minutes=10)
#: Until the waiting program fetches its session.
CODE_LIFETIME: Final = timedelta(minutes=1)

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
#: A path of our own: `//host` and `/\\host` are other sites to a browser.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[!-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Where the browser goes at the end, and its session's token unless a program waits for that."""

    location: str
    token: str


def begin(database: Database, provider: Provider, *, return_to: str, port: int, challenge: str) -> tuple[str, str]:
    """Where to send the browser, and the secret that its cookie keeps meanwhile."""
    if _OWN_PATH.fullmatch(return_to) is None or "\\" in return_to:
        raise Invalid("return_to must be a path of this site", field="return_to")
    if port and _CHALLENGE.fullmatch(challenge) is None:
        raise Invalid("a waiting program needs a challenge (RFC 7636, S256)", field="challenge")
    state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    moment = now()
    login = Login(
        digest=credentials.digest(state),
        browser=credentials.digest(browser),
        return_to=return_to,
        port=port,
        challenge=challenge if port else "",
        expires_at=moment + LOGIN_LIFETIME,
    )
    address = provider.address(state=state, nonce=_derived("nonce", browser), challenge=s256(_verifier(browser)))
    database.write(queries.remove_expired, moment)
    database.write(queries.add, login)
    return address, browser


def finish(
    database: Database,
    provider: Provider,
    settings: ApiSettings,
    visit: Visit,
    *,
    code: str,
    state: str,
    browser: str,
) -> Arrival:
    """The provider sent the browser back. Raises Unauthorized for what this browser did not begin, or did already."""
    login = database.write(queries.take, credentials.digest(state), now())
    if login is None or login.user_id is not None or not credentials.same(login.browser, credentials.digest(browser)):
        raise Unauthorized("this login was not begun here, was used, or took too long", hint="begin again")
    claims = provider.claims(code=code, verifier=_verifier(browser), nonce=_derived("nonce", browser))
    admitted = admission(claims, settings)
    if admitted is None:
        database.write(note, visit, "login.failed", "oidc:unadmitted", how="oidc")
        raise Forbidden("your account at the identity provider may not use this API", hint="ask an admin")

    def transaction(connection: Connection) -> Arrival:
        user = _admit(connection, visit, settings.oidc_issuer, admitted)
        if not login.port:
            _, token = granted(connection, visit, user, settings.session_lifetime, how="oidc")
            return Arrival(location=login.return_to, token=token)
        once = secrets.token_urlsafe(32)
        waiting = replace(login, digest=credentials.digest(once), expires_at=now() + CODE_LIFETIME, user_id=user.id)
        queries.add(connection, waiting)
        return Arrival(location=f"http://127.0.0.1:{login.port}/?{urlencode({'code': once})}", token="")

    return database.write(transaction)


def exchange(database: Database, visit: Visit, write: ExchangeWrite, lifetime: timedelta) -> tuple[SessionGrant, str]:
    """The session for the program that began the login and kept the verifier; once."""
    login = database.write(queries.take, credentials.digest(write.code), now())
    if login is None or login.user_id is None or not credentials.same(login.challenge, s256(write.verifier)):
        raise Unauthorized("this code is wrong, was used, or is too old", hint="log in again")
    user = login.user_id

    def transaction(connection: Connection) -> tuple[SessionGrant, str]:
        stored = users.find_id(connection, user)
        if stored is None or stored.user.disabled:
            raise Unauthorized("this code is wrong, was used, or is too old", hint="log in again")
        return granted(connection, visit, stored.user, lifetime, how="oidc")

    return database.write(transaction)


def s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _admit(connection: Connection, visit: Visit, issuer: str, admitted: Admission) -> User:
    """The user of the provider's subject, as the provider describes it now; a new one at the first login."""
    stored = users.find_subject(connection, issuer, admitted.subject)
    if stored is None:
        for name in (admitted.name, admitted.other_name):
            user = User(
                id=uuid4(),
                name=name,
                display_name=admitted.display_name,
                admin=bool(admitted.admin),
                disabled=False,
                issuer=issuer,
                groups=admitted.groups,
                created_at=now(),
            )
            if users.add(connection, user, subject=admitted.subject):
                note(connection, visit, "user.created", f"user:{name}", admin=user.admin, how="oidc")
                return user
        raise Unauthorized("the login at the identity provider failed", hint="begin again")
    if stored.user.disabled:
        raise Unauthorized("the login at the identity provider failed", hint="begin again")
    values = {"display_name": admitted.display_name}
    if admitted.admin is not None and admitted.admin != stored.user.admin:
        note(connection, visit, "user.changed", f"user:{stored.user.name}", admin=admitted.admin, how="oidc")
        users.change(connection, stored.user.id, {"admin": admitted.admin})
    users.change(connection, stored.user.id, values)
    users.set_groups(connection, stored.user.id, admitted.groups, external=True)
    again = users.find_id(connection, stored.user.id)
    assert again is not None
    return again.user


def _verifier(browser: str) -> str:
    return _derived("verifier", browser)


def _derived(what: str, browser: str) -> str:
    return s256(f"{what}:{browser}")
