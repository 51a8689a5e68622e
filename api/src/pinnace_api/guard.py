"""What stands in front of every route: which token came along, whose it is, and whether access.py lets it in.

It runs before the body is read. A token comes in the one Authorization header, or else in the session's cookie, never
in the address. What a browser sends by itself proves nothing: a request that changes something by cookie also needs
the header X-Pinnace-CSRF, and every request from a page must come from a page of ours.
"""

from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from pinnace_api import credentials
from pinnace_api.access import PUBLIC, RULES, Access
from pinnace_api.identity import Caller, Identifier
from pinnace_api.refusals import Forbidden, NotFound, Unauthorized

CSRF_HEADER: Final = "x-pinnace-csrf"
#: Methods that change nothing.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_Connection = ASGIConnection[Any, Any, Any, Any]


class Guard:
    """`check` is Litestar's guard. `origins` are those of our own pages beside the address that was asked."""

    def __init__(self, identifier: Identifier, access: Access, *, cookie: str, origins: Collection[str]) -> None:
        self._identifier = identifier
        self._access = access
        self._cookie = cookie
        self._origins = frozenset(origins)

    async def check(self, connection: _Connection, handler: BaseRouteHandler) -> None:
        """Let the request through or raise Unauthorized, Forbidden, NotFound or Unavailable.

        The caller is left in the connection's `user`.
        """
        operation = _operation(handler)
        safe = connection.scope.get("method") in _SAFE
        if RULES[operation] == PUBLIC:
            if not safe:
                self._check_origin(connection)
            return
        token = self._token(connection, safe=safe)
        caller = self._identifier.recall(token)
        path = connection.path_params
        if caller is not None and self._access.known(operation, caller, path):
            connection.scope["user"] = caller
            self._access.check(operation, caller, path)
        else:
            await sync_to_thread(self._admit, connection, operation, token)

    def _admit(self, connection: _Connection, operation: str, token: str) -> None:
        caller = self._identifier.recall(token) or self._identifier.identify(token)
        connection.scope["user"] = caller
        self._access.check(operation, caller, connection.path_params)

    def _token(self, connection: _Connection, *, safe: bool) -> str:
        headers = connection.headers.getall("authorization", [])
        if headers:
            return bearer(headers)
        token = session_cookie(connection, self._cookie)
        if not token:
            return bearer(())
        if not safe:
            self._check_origin(connection)
            proof = connection.headers.getall(CSRF_HEADER, [])
            if len(proof) != 1 or not credentials.same(proof[0], credentials.csrf(token)):
                raise Forbidden(
                    "a request by cookie that changes something needs the header X-Pinnace-CSRF",
                    hint="`csrf` of GET /api/v1/session is its value",
                )
        return token

    def _check_origin(self, connection: _Connection) -> None:
        """Raise Forbidden for a request that another site's page makes; programs send no Origin."""
        for origin in connection.headers.getall("origin", []):
            host = connection.headers.get("host", "")
            if origin not in self._origins and (not host or urlsplit(origin).netloc != host):
                raise Forbidden("this request comes from a page of another site", field="origin")


def caller_of(connection: _Connection) -> Caller | None:
    """Whom the guard let in; None on a public route."""
    caller = connection.scope.get("user")
    return caller if isinstance(caller, Caller) else None


def session_cookie(connection: _Connection, name: str) -> str:
    """The session's token in the cookie; empty without one. Raises Unauthorized when there are two that differ."""
    found = {
        value.strip()
        for header in connection.headers.getall("cookie", [])
        for key, _, value in (part.partition("=") for part in header.split(";"))
        if key.strip() == name
    }
    if len(found) > 1:
        raise Unauthorized("there are several session cookies", hint="delete the cookies of this site and log in")
    return next(iter(found), "")


def bearer(headers: Collection[str]) -> str:
    """The token of the one Authorization header. Raises Unauthorized when it is missing or malformed."""
    if len(headers) != 1:
        raise Unauthorized(
            "the request needs one Authorization header",
            hint="send `Authorization: Bearer TOKEN`, as commands do after `pinnace login`",
        )
    scheme, _, token = next(iter(headers)).partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token or not (token.isascii() and token.isprintable()):
        raise Unauthorized("the Authorization header is malformed", hint="send `Authorization: Bearer TOKEN`")
    return token


def _operation(handler: BaseRouteHandler) -> str:
    operation = getattr(handler, "operation_id", None)
    if not isinstance(operation, str) or operation not in RULES:
        raise NotFound("there is nothing at this address", hint="/openapi.json lists every route")
    return operation
