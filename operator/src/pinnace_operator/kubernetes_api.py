"""Requests to a real API server. Manifests travel as plain JSON, so that no field is lost that nobody here knows."""

import time
from collections.abc import Callable
from typing import Any, Final

import kopf
import msgspec
import urllib3

from pinnace_operator.connection import Login
from pinnace_operator.ports import (
    ClusterError,
    GoneError,
    NamespaceEndsError,
    RefusedError,
    RejectedError,
    UnavailableError,
)

FIELD_MANAGER: Final = "pinnace-operator"

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0

#: Kept open: one for each look at a time, and the Lease's.
CONNECTIONS: Final = 10

#: A token is read anew after so long; kubelets replace it long before it ends.
FRESH_S: Final = 60.0

_APPLY: Final = "application/apply-patch+yaml"
JSON: Final = "application/json"

#: The API server's word for whatever is to be made in a namespace that is being deleted.
_ENDS: Final = "because it is being terminated"

#: The API server's word for a field that a manifest can't have, or of the wrong type: it says 500 to that.
_UNTYPED: Final = "failed to create typed patch object"

#: The API server's words for what an admission webhook, or one of its own policies, does not let in. The code is theirs
#: to choose, and 400 and 422 are among the chosen; whoever sets the rule can change it.
_DENIED: Final = ("denied the request", "denied request")


class _Status(msgspec.Struct, frozen=True):
    """The part of a metav1.Status that says why."""

    message: str = ""
    reason: str = ""


class KubernetesApi:
    """What the adapters of ports are made of. Every call raises ClusterError. Safe to use from several threads."""

    def __init__(self, login: Login, *, read_timeout: float = READ_TIMEOUT_S) -> None:
        self._login = login
        self._info, self._fresh_until = login(), time.monotonic() + FRESH_S
        self._server = (self._info.server or "").rstrip("/")
        self._pool = _pool(self._info)
        self._read_timeout = read_timeout
        #: Asked before each write.
        self.may_write: Callable[[], bool] = lambda: True

    def _authorization(self) -> dict[str, str]:
        if time.monotonic() > self._fresh_until:
            try:
                self._info, self._fresh_until = self._login(), time.monotonic() + FRESH_S
            except kopf.LoginError as error:
                raise UnavailableError(f"the operator can't log in: {error}") from error
        return self._info.as_http_headers()

    def _apply(self, path: str, manifest: dict[str, Any], *, manager: str = FIELD_MANAGER) -> dict[str, Any]:
        return self._call("PATCH", f"{path}?fieldManager={manager}&force=true", manifest, _APPLY)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | list[Any] | None = None, content_type: str = ""
    ) -> dict[str, Any]:
        if method != "GET" and not self.may_write():
            raise UnavailableError("nothing is written, because the Lease could not be renewed")
        return self._send(method, path, body, content_type)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | list[Any] | None, content_type: str
    ) -> dict[str, Any]:
        """Without asking whether it may be written."""
        headers = {"Accept": JSON, "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content_type
        what = f"{method} {path.partition('?')[0]}"
        try:
            response = self._pool.request(
                method,
                self._server + path,
                body=None if body is None else msgspec.json.encode(body),
                headers=headers | self._authorization(),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=self._read_timeout),
                retries=False,
                redirect=False,
            )
            content = response.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(f"{what}: the API server does not answer: {error}") from error
        if not 200 <= response.status <= 299:
            raise _error(what, response.status, content)
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UnavailableError(f"{what}: the answer can't be read: {error}") from error


def _pool(info: kopf.ConnectionInfo) -> urllib3.PoolManager:
    context = info.as_ssl_context()
    if info.proxy_url:
        return urllib3.ProxyManager(info.proxy_url, ssl_context=context, maxsize=CONNECTIONS)
    return urllib3.PoolManager(ssl_context=context, maxsize=CONNECTIONS)


def _error(what: str, status: int, content: bytes) -> ClusterError:
    try:
        said = msgspec.json.decode(content, type=_Status)
    except msgspec.DecodeError:
        said = _Status(message=content[:256].decode(errors="replace"))
    message = said.message or f"{what}: HTTP {status}"
    kind = {400: RejectedError, 422: RejectedError, 404: GoneError, 403: RefusedError, 409: RefusedError}.get(
        status, UnavailableError
    )
    if _ENDS in message:
        return NamespaceEndsError(message, reason=said.reason)
    if _UNTYPED in message:
        return RejectedError(message, reason=said.reason)
    if kind is RejectedError and any(words in message for words in _DENIED):
        return RefusedError(message, reason=said.reason)
    if status == 401:
        return UnavailableError(message, reason=said.reason, hint="the operator's own token is not accepted")
    return kind(message, reason=said.reason)
