"""One JSON request to the metadata API and its answer, over a pool of kept-alive connections.

Knows HTTP, the token and the errors; knows no route. Nothing is retried but one case: a kept-alive connection that
the API closed just as the request went out is replaced once, at once. All requests of the API are idempotent.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast
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
#: How much of a file goes out at a time.
_BLOCK_BYTES: Final = 256 * 2**10
#: To wait for what the API does with a whole file when all of it has arrived.
_FILE_SECONDS: Final = 600.0
_JSON: Final = {"content-type": "application/json"}
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
        self._timeout = urllib3.Timeout(connect=timeout, read=timeout)
        self._patient = urllib3.Timeout(connect=timeout, read=max(timeout, _FILE_SECONDS))
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=connections,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=settings.api_ca_file or None,
            blocksize=_BLOCK_BYTES,
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

    def send(
        self, method: str, path: str, content: BinaryIO, *, size: int, headers: Mapping[str, str], answer: type[_T]
    ) -> _T | None:
        """The next `size` bytes of `content` as the body, in bounded memory; None for an answer without a body.

        Raises ApiError; OSError when `content` can't be read.
        """
        what = f"{method} {path}"
        body = _Limited(content, size)
        fields = {"content-type": "application/octet-stream", **headers, "content-length": str(size)}
        try:
            response = self._send(method, path, body, fields)
        except (HTTPError, OSError) as error:
            if body.failure is not None:
                raise body.failure from None
            raise _unreachable(what, self._base, error) from error
        return None if response[0] == 204 else _understood(what, response, answer)

    def receive(self, path: str, sink: Callable[[bytes], object], *, start: int = 0) -> None:
        """Hand the body of GET `path` to `sink` block by block, from byte `start` on; what `sink` raises ends it.

        Raises ApiError: Unreachable also when the answer breaks off, with what had arrived handed over.
        """
        what = f"GET {path}"
        headers = {"accept": "*/*", "range": f"bytes={start}-"} if start else {"accept": "*/*"}
        try:
            response = self._request("GET", path, None, headers)
            try:
                _check_body(what, response, 206 if start else 200)
                while block := response.read(_BLOCK_BYTES, decode_content=False):
                    sink(block)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except HTTPError as error:
            raise _unreachable(what, self._base, error) from error

    def _call(self, method: str, path: str, body: bytes | None, answer: type[_T]) -> _T:
        what = f"{method} {path.partition('?')[0]}"
        try:
            try:
                response = self._send(method, path, body, _JSON if body is not None else {})
            except ProtocolError:
                response = self._send(method, path, body, _JSON if body is not None else {})
        except (HTTPError, OSError) as error:
            raise _unreachable(what, self._base, error) from error
        return _understood(what, response, answer)

    def _send(
        self, method: str, path: str, body: "bytes | _Limited | None", fields: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        is_file = isinstance(body, _Limited)
        begun = time.monotonic()
        response = self._request(method, path, body, fields)
        try:
            deadline = (time.monotonic() if is_file else begun) + self._deadline
            content = _read(response, f"{method} {path}", deadline=deadline)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return response.status, response.headers, content

    def _request(
        self, method: str, path: str, body: "bytes | _Limited | None", fields: Mapping[str, str]
    ) -> BaseHTTPResponse:
        headers = {**_HEADERS, **fields}
        if token := self._bearer():
            headers["authorization"] = f"Bearer {token}"
        return self._pool.request(
            method,
            self._base + path,
            body=cast(Any, body),  # anything that has `read`
            headers=headers,
            redirect=False,
            preload_content=False,
            timeout=self._patient if isinstance(body, _Limited) else self._timeout,
        )

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


class _Limited:
    """The next `size` bytes of a file, as urllib3 reads them; keeps apart what fails here from what fails there."""

    def __init__(self, content: BinaryIO, size: int) -> None:
        self._content = content
        self._left = size
        self.failure: OSError | None = None

    def read(self, amount: int = -1) -> bytes:
        wanted = self._left if amount < 0 else min(amount, self._left)
        try:
            block = self._content.read(wanted)
            if wanted and not block:
                raise OSError(f"the file is {self._left} bytes shorter than it was")  # noqa: TRY301
        except OSError as error:
            self.failure = error
            raise
        self._left -= len(block)
        return block


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


def _check_body(what: str, response: BaseHTTPResponse, expected: int) -> None:
    if not 200 <= response.status < 300:
        raise _refusal(what, response.status, response.headers, response.read(MAX_RESPONSE_BYTES))
    if response.status != expected:
        raise Unexpected(f"{what}: the answer does not begin where it was asked to", status=response.status)


def _understood(what: str, response: tuple[int, Mapping[str, str], bytes], answer: type[_T]) -> _T:
    status, headers, content = response
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
