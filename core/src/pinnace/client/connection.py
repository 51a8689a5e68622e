"""One JSON request to the metadata API and its answer, over a pool of kept-alive connections.

Knows HTTP, the token and the errors; knows no route. Nothing is retried but one case: a kept-alive connection that
the API closed just as the request went out is replaced once, at once. All requests of the API are idempotent.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError, SSLError

from pinnace.client.errors import ApiError, Unauthorized, Unavailable, Unexpected, Unreachable, error_type
from pinnace.records import ProblemDetails
from pinnace.settings import ClientSettings

_T = TypeVar("_T")
#: Fields of a query; a sequence is a field that is given several times.
Query = Mapping[str, str | int | Sequence[str] | None]

#: An answer longer than this is not read to its end. The longest page of the API stays below.
MAX_RESPONSE_BYTES: Final = 64 * 2**20
_CHUNK_BYTES: Final = 64 * 2**10
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "pinnace"}


class Connection:
    """Requests below `<api_url>/api/v1`. Safe to use from several threads at once.

    `timeout` in seconds bounds each wait for the network, and three times that a whole call.
    """

    def __init__(self, settings: ClientSettings, *, timeout: float, connections: int) -> None:
        self._base = settings.api_url.rstrip("/") + "/api/v1"
        self._token = settings.api_token
        self._token_file = Path(settings.api_token_file) if settings.api_token_file else None
        self._deadline = 3 * timeout
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=connections,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=settings.api_ca_file or None,
        )

    def close(self) -> None:
        """Close idle connections. The connection stays usable."""
        self._pool.clear()

    def get(self, path: str, answer: type[_T], query: Query | None = None) -> _T:
        """GET `path`; query fields that are None are left out. Raises ApiError."""
        return self._call("GET", _with_query(path, query), None, answer)

    def put(self, path: str, body: msgspec.Struct, answer: type[_T]) -> _T:
        """PUT `body` to `path`. Raises ApiError; sending it again is harmless."""
        return self._call("PUT", path, msgspec.json.encode(body), answer)

    def post(self, path: str, body: msgspec.Struct, answer: type[_T]) -> _T:
        """POST `body` to `path`: a question that is too long for an address, or a login. Raises ApiError."""
        return self._call("POST", path, msgspec.json.encode(body), answer)

    def patch(self, path: str, body: msgspec.Struct, answer: type[_T], query: Query | None = None) -> _T:
        """PATCH `path` with the merge patch `body`. Raises ApiError; sending it again is harmless."""
        return self._call("PATCH", _with_query(path, query), msgspec.json.encode(body), answer)

    def delete(self, path: str, query: Query | None = None) -> None:
        """DELETE `path`. Raises ApiError; sending it again is harmless."""
        self._call("DELETE", _with_query(path, query), None, type(None))

    def _call(self, method: str, path: str, body: bytes | None, answer: type[_T]) -> _T:
        what = f"{method} {path.partition('?')[0]}"
        try:
            try:
                status, headers, content = self._send(method, path, body)
            except ProtocolError:
                status, headers, content = self._send(method, path, body)
        except (HTTPError, OSError) as error:
            raise _unreachable(what, self._base, error) from error
        if not 200 <= status < 300:
            raise _refusal(what, status, headers, content)
        try:
            return msgspec.json.decode(content or b"null", type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unexpected(
                f"{what}: the answer is not a {answer.__name__}: {error}",
                status=status,
                hint="does the URL point at a Pinnace API of about this version?",
            ) from error

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        headers = dict(_HEADERS)
        if body is not None:
            headers["content-type"] = "application/json"
        if token := self._bearer():
            headers["authorization"] = f"Bearer {token}"
        begun = time.monotonic()
        response = self._pool.request(
            method, self._base + path, body=body, headers=headers, redirect=False, preload_content=False
        )
        try:
            content = _read(response, f"{method} {path}", deadline=begun + self._deadline)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return response.status, response.headers, content

    def _bearer(self) -> str:
        token = self._token
        if not token and self._token_file is not None:
            try:
                token = self._token_file.read_text("ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Unauthorized(
                    f"the API token can't be read: {error}", code="token-unreadable", hint="check api_token_file"
                ) from error
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise Unauthorized(
                "the API token holds characters that no token has",
                code="token-unreadable",
                hint="check api_token or api_token_file",
            )
        return token


def _with_query(path: str, query: Query | None) -> str:
    fields = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(fields, doseq=True)}" if fields else path


def _read(response: BaseHTTPResponse, what: str, *, deadline: float) -> bytes:
    content = bytearray()
    while chunk := response.read(_CHUNK_BYTES, decode_content=False):
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise Unexpected(
                f"{what}: the answer is longer than {MAX_RESPONSE_BYTES} bytes",
                status=response.status,
                hint="ask for fewer at a time",
            )
        if time.monotonic() > deadline:
            raise Unreachable(f"{what}: the answer did not end in time")
    return bytes(content)


def _unreachable(what: str, base: str, error: Exception) -> Unreachable:
    if isinstance(error, SSLError) or isinstance(error.__cause__, SSLError):
        hint = "TLS failed: check that api_ca_file holds the authority of the API's certificate"
    else:
        hint = "check that the API runs and that api_url is right"
    return Unreachable(f"{what}: no answer from {base}: {error}", hint=hint)


def _refusal(what: str, status: int, headers: Mapping[str, str], content: bytes) -> ApiError:
    try:
        problem = msgspec.json.decode(content, type=ProblemDetails)
    except (msgspec.DecodeError, UnicodeDecodeError):
        hint = "does the URL point at a Pinnace API?" if status < 500 else ""
        problem = ProblemDetails(title=f"HTTP {status}", status=status, code="", hint=hint)
    fields: dict[str, Any] = {
        "status": status,
        "code": problem.code,
        "detail": problem.detail,
        "hint": problem.hint,
        "field": problem.field,
        "request_id": headers.get("x-request-id", ""),
    }
    text = ": ".join(part for part in (what, f"{status} {problem.title}", problem.field, problem.detail) if part)
    error = error_type(status)(text, **fields)
    if isinstance(error, Unavailable):
        seconds = headers.get("retry-after", "")
        error.retry_after = float(seconds) if seconds.isdecimal() else None
    return error
