"""Signed requests to one bucket: from a call to its answer, or to the StoreError that the answer means."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from xml.etree.ElementTree import Element

import msgspec

from pinnace import signing
from pinnace.digests import EMPTY_SHA256
from pinnace.settings import StoreSettings
from pinnace.stores import http1, s3_answers, s3_xml
from pinnace.stores.credentials import CredentialsSource
from pinnace.stores.dialling import Endpoint
from pinnace.stores.http1 import Answer, FileSlice, HttpRequest
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.store import Sink, StoreError, check_key

#: Codes after which the source of the credentials may have other ones.
_STALE_CREDENTIALS: Final = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of S3. `key` is None when it is about the bucket; the payload's digest is that of `body`."""

    method: str
    key: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    payload_sha256: str = EMPTY_SHA256
    body: bytes | FileSlice = b""
    sink: Sink | None = None
    #: The statuses of success; an answer with the first of them goes into `sink`.
    expected: tuple[int, ...] = (200,)
    #: Whether doing it twice is harmless.
    repeatable: bool = True


def endpoint_of(settings: StoreSettings) -> Endpoint:
    """Where the requests of a bucket go: with virtual addressing to a host of its own."""
    suffix = "amazonaws.com.cn" if settings.region.startswith("cn-") else "amazonaws.com"
    endpoint = Endpoint.from_url(settings.endpoint or f"https://s3.{settings.region}.{suffix}")
    if settings.addressing == "path":
        return endpoint
    return Endpoint(scheme=endpoint.scheme, host=f"{settings.bucket}.{endpoint.host}", port=endpoint.port)


class Bucket:
    """Safe to use from several threads at once.

    `now` is the clock. A store whose clock differs by more than it allows refuses one call (`RequestTimeTooSkewed`,
    to be tried again); from then on its own time is signed.
    """

    def __init__(
        self,
        settings: StoreSettings,
        credentials: CredentialsSource,
        connections: ConnectionPool,
        now: Callable[[], datetime],
    ) -> None:
        self._bucket = settings.bucket
        self._region = settings.region
        self._is_in_path = settings.addressing == "path"
        self._credentials = credentials
        self._connections = connections
        self._now = now
        self._skew = timedelta()

    def exchange(self, call: Call) -> Answer:
        """The answer, whatever it says."""
        return self.begin(call)()

    def begin(self, call: Call) -> Callable[[], Answer]:
        """Send a request; what is returned waits for the answer: ConnectionPool.begin."""
        if call.key is not None:
            check_key(call.key)
        request = signing.Request(
            method=call.method,
            host=self._connections.endpoint.authority,
            path=self._path(call.key or ""),
            query=signing.encode_query(call.query),
            headers=call.headers,
            payload_sha256=call.payload_sha256,
        )
        headers = signing.sign(request, self._credentials.current(), self._region, self._now() + self._skew)
        headers["user-agent"] = "pinnace"
        return self._connections.begin(
            HttpRequest(
                method=call.method,
                target=request.target,
                headers=headers,
                body=call.body,
                sink=call.sink,
                sink_status=call.expected[0],
            ),
            repeatable=call.repeatable,
        )

    def presigned(self, call: Call, *, seconds: int) -> str:
        """The address with which anybody may make the call for so long."""
        check_key(call.key or "")
        endpoint = self._connections.endpoint
        request = signing.Request(
            method=call.method,
            host=endpoint.authority,
            path=self._path(call.key or ""),
            query=signing.encode_query(call.query),
            payload_sha256=call.payload_sha256,
        )
        now = self._now() + self._skew
        target = signing.presign(request, self._credentials.current(), self._region, now, seconds=seconds)
        return f"{endpoint.scheme}://{endpoint.authority}{target}"

    def call(self, call: Call) -> tuple[Answer, Element | None]:
        """The answer and its document, if any. Whatever isn't expected, an `<Error>` below a 200 too, is raised."""
        answer = self.exchange(call)
        return answer, self.check(call, answer)

    def check(self, call: Call, answer: Answer) -> Element | None:
        """The document of an answer, if any; raises as `call` does."""
        if answer.status not in call.expected:
            raise self.refused(call, answer)
        root = s3_xml.parse(answer.body) if answer.body else None
        if root is not None and s3_xml.is_error(root):
            raise self.refused(call, answer)
        return root

    def document(self, call: Call) -> Element:
        """The document of the answer, which must have one."""
        _, root = self.call(call)
        if root is None:
            raise http1.bad_answer("nothing where a document belongs")
        return root

    def refused(self, call: Call, answer: Answer) -> StoreError:
        """The error that the answer means; what it teaches of clock and credentials is kept for the next call."""
        what = f"{call.method} {self._bucket}{'' if call.key is None else f'/{call.key}'}"
        error = s3_answers.refusal(answer, what, key=call.key or "", region=self._region)
        if error.code in _STALE_CREDENTIALS:
            self._credentials.forget()
        if error.code == "RequestTimeTooSkewed" and (theirs := s3_answers.server_time(answer)) is not None:
            self._skew = theirs - self._now()
        return error

    def _path(self, key: str) -> str:
        if not self._is_in_path:
            return signing.encode_path(key)
        return signing.encode_path(self._bucket, key) if key else signing.encode_path(self._bucket)
