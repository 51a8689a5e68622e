"""An S3-compatible store: AWS, MinIO and the like.

Every body is protected twice: by its SHA-256, which is part of the signature, and by the CRC32C that the store
compares, keeps and tells, if it can (s3_dialect.py). A multipart object has one CRC32C over the whole content, or over
its parts' own, so one HEAD is enough to compare it with the digest that was taken before the upload.

Nobody has a use for a part's SHA-256 but its signature. Where TLS protects the part on its way and the store has shown
that it compares CRC32Cs, a part goes without (docs/decisions/0018); elsewhere its SHA-256 is taken just before.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from xml.etree.ElementTree import Element

from pinnace.digests import ContentDigest, Digester, PartDigest
from pinnace.settings import StoreSettings
from pinnace.signing import UNSIGNED_PAYLOAD
from pinnace.stores import http1, s3_answers, s3_xml
from pinnace.stores.connection import read_slice
from pinnace.stores.credentials import CredentialsSource
from pinnace.stores.http1 import FileSlice
from pinnace.stores.pacing import bandwidth_of
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.proxies import proxy_for
from pinnace.stores.s3_bucket import Bucket, Call, endpoint_of
from pinnace.stores.s3_dialect import Dialect, Feature
from pinnace.stores.store import (
    CorruptContent,
    Multipart,
    NoSuchMultipart,
    NoSuchObject,
    ObjectInfo,
    Part,
    Sink,
    Source,
    Stored,
    StoreRefused,
    check_range,
)

_BINARY: Final = {"content-type": "application/octet-stream"}
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_PAGE: Final = "1000"
#: Stays in the processor's cache between reading, SHA-256 and CRC32C.
_BLOCK_BYTES: Final = 256 * 2**10
_WHOLE: Final = {"x-amz-checksum-type": "FULL_OBJECT"}
_IF_NOTHING_THERE: Final = {"if-none-match": "*"}
_KMS_KEY: Final = "x-amz-server-side-encryption-aws-kms-key-id"


class S3Store:
    """One bucket, as store.MultipartStore has it. The settings' prefix is in the keys already: see ids.object_key.

    `now` is the clock; `connections` are made from the settings unless they are given.
    """

    def __init__(
        self,
        settings: StoreSettings,
        credentials: CredentialsSource,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        connections: ConnectionPool | None = None,
    ) -> None:
        self._dialect = Dialect(settings)
        self._encryption = _encryption_headers(settings.server_side_encryption)
        self._put_headers = _BINARY | self._encryption
        self._connections = connections or connections_for(settings)
        self._bucket = Bucket(settings, credentials, self._connections, now)

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    @property
    def hashes_parts(self) -> bool:
        return not (self._dialect.speaks(Feature.BARE_BODY) and self._dialect.speaks(Feature.CHECKSUM))

    def put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Stored:
        return self.begin_put(key, source, digest, replace=replace)()

    def begin_put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Callable[[], Stored]:
        wanted = (Feature.CHECKSUM,) if replace else (Feature.CONDITION, Feature.CHECKSUM)
        return self._begin(key, source, digest, wanted, headers=self._put_headers)

    def head(self, key: str) -> ObjectInfo | None:
        call = Call(method="HEAD", key=key, headers=self._checksum_mode())
        answer = self._bucket.exchange(call)
        if answer.status == 200:
            return s3_answers.object_info(key, answer)
        if answer.status == 404 and answer.headers.get("x-minio-error-code", "NoSuchKey") == "NoSuchKey":
            return None
        # An answer to HEAD has no body, and so no reason in it: ask the same in a way that has.
        # An empty object has no first byte, but is there: 416.
        look = Call(method="GET", key=key, headers={"range": "bytes=0-0"}, expected=(206, 200, 416))
        told = self._bucket.exchange(look)
        if told.status not in look.expected:
            refusal = self._bucket.refused(look, told)
            if isinstance(refusal, NoSuchObject):
                return None
            # Who may not list the bucket is not told that nothing is there; below the key itself one may still look.
            if isinstance(refusal, StoreRefused) and answer.status == 403 and not self._is_listed(key):
                return None
            raise refusal
        raise self._bucket.refused(call, answer)

    def get(self, key: str, sink: Sink, *, start: int = 0, size: int | None = None) -> ObjectInfo:
        check_range(start, size)
        if start == 0 and size is None:
            call = Call(method="GET", key=key, headers=self._checksum_mode(), sink=sink)
        else:
            end = "" if size is None else str(start + size - 1)
            call = Call(method="GET", key=key, headers={"range": f"bytes={start}-{end}"}, sink=sink, expected=(206,))
        answer = self._bucket.exchange(call)
        if answer.status not in call.expected:
            raise self._bucket.refused(call, answer)
        if answer.status == 206 and s3_answers.content_range(answer.headers)[0] != start:
            raise http1.bad_answer("another range than was asked for")
        return s3_answers.object_info(key, answer)

    def presigned(self, key: str, *, seconds: int, query: tuple[tuple[str, str], ...] = ()) -> str:
        """An address from which anybody may GET the object for 1 to 604,800 seconds. No request is made.

        `query` may ask for headers of the answer: `response-content-type` and the like. Raises StoreError.
        """
        return self._bucket.presigned(Call(method="GET", key=key, query=query), seconds=seconds)

    def delete(self, key: str) -> None:
        try:
            self._bucket.call(Call(method="DELETE", key=key, expected=(204, 200)))
        except NoSuchObject:
            return

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        query = (("list-type", "2"), ("prefix", prefix), ("max-keys", _PAGE), ("encoding-type", "url"))
        for root in self._pages(None, query, {"continuation-token": "NextContinuationToken"}):
            encoded = s3_xml.is_url_encoded(root)
            for element in s3_xml.each(root, "Contents"):
                yield s3_answers.listed_object(element, encoded=encoded)

    def create_multipart(self, key: str) -> Multipart:
        def create(features: frozenset[Feature]) -> Multipart:
            headers = _BINARY | self._encryption
            if Feature.CHECKSUM in features:
                headers["x-amz-checksum-algorithm"] = "CRC32C"
                headers |= _WHOLE if Feature.WHOLE_CHECKSUM in features else {}
            root = self._bucket.document(
                Call(method="POST", key=key, query=(("uploads", ""),), headers=headers, repeatable=False)
            )
            return Multipart(key=key, upload_id=s3_xml.required(root, "UploadId"))

        return self._dialect.call((Feature.WHOLE_CHECKSUM, Feature.CHECKSUM), create)

    def put_part(self, upload: Multipart, number: int, source: Source, digest: PartDigest) -> Part:
        query = (("partNumber", str(number)), ("uploadId", upload.upload_id))
        # A body goes bare only to a store that has answered with a checksum of its own before.
        bare = (Feature.BARE_BODY,) if self._dialect.knows(Feature.CHECKSUM) else ()
        stored = self._begin(upload.key, source, digest, (*bare, Feature.CHECKSUM), query=query)()
        return Part(number=number, size=digest.size, etag=stored.etag, crc32c=stored.crc32c)

    def list_parts(self, upload: Multipart) -> tuple[Part, ...]:
        # By number: some stores list a part that was sent again twice, the newest last.
        parts: dict[int, Part] = {}
        query = (("uploadId", upload.upload_id), ("max-parts", _PAGE))
        for root in self._pages(upload.key, query, {"part-number-marker": "NextPartNumberMarker"}):
            parts |= {part.number: part for part in map(s3_answers.listed_part, s3_xml.each(root, "Part"))}
        return tuple(parts[number] for number in sorted(parts))

    def complete_multipart(
        self, upload: Multipart, parts: Sequence[Part], digest: ContentDigest, *, replace: bool = True
    ) -> Stored:
        body = s3_xml.complete_request(sorted(parts, key=lambda part: part.number))

        def complete(features: frozenset[Feature]) -> Stored:
            headers = {"content-type": "application/xml"}
            if Feature.WHOLE_CHECKSUM in features:
                headers |= {"x-amz-checksum-crc32c": digest.crc32c, **_WHOLE}
            if Feature.CONDITION in features:
                headers |= _IF_NOTHING_THERE
            root = self._bucket.document(
                Call(
                    method="POST",
                    key=upload.key,
                    query=(("uploadId", upload.upload_id),),
                    headers=headers,
                    payload_sha256=hashlib.sha256(body).hexdigest(),
                    body=body,
                    repeatable=False,
                )
            )
            return s3_answers.completed(root, digest)

        # Without a checksum of each part there is none of the whole to be compared.
        wanted = [Feature.WHOLE_CHECKSUM] if all(part.crc32c is not None for part in parts) else []
        return self._dialect.call(wanted if replace else [Feature.CONDITION, *wanted], complete)

    def abort_multipart(self, upload: Multipart) -> None:
        query = (("uploadId", upload.upload_id),)
        try:
            self._bucket.call(Call(method="DELETE", key=upload.key, query=query, expected=(204, 200)))
        except NoSuchMultipart:
            return

    def list_multiparts(self, prefix: str) -> Iterator[Multipart]:
        query = (("uploads", ""), ("prefix", prefix), ("max-uploads", _PAGE), ("encoding-type", "url"))
        markers = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
        for root in self._pages(None, query, markers):
            encoded = s3_xml.is_url_encoded(root)
            for element in s3_xml.each(root, "Upload"):
                key = s3_xml.key(element, "Key", encoded=encoded)
                yield Multipart(key=key, upload_id=s3_xml.required(element, "UploadId"))

    def _begin(
        self,
        key: str,
        source: Source,
        digest: PartDigest,
        wanted: Sequence[Feature],
        *,
        query: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] = _NONE,
    ) -> Callable[[], Stored]:
        """PUT the bytes of `digest` with these headers and those of the features; what is returned waits for the
        answer.
        """
        body = FileSlice(source, digest.offset, digest.size)

        def begin(features: frozenset[Feature]) -> Callable[[], Stored]:
            signed = dict(headers)
            if Feature.CHECKSUM in features:
                signed["x-amz-checksum-crc32c"] = digest.crc32c
            if Feature.CONDITION in features:
                signed |= _IF_NOTHING_THERE
            if Feature.BARE_BODY in features:
                payload_sha256 = UNSIGNED_PAYLOAD
            else:
                payload_sha256 = digest.sha256 or _sha256(body, digest)
            call = Call(method="PUT", key=key, query=query, headers=signed, payload_sha256=payload_sha256, body=body)
            told = self._bucket.begin(call)

            def finish() -> Stored:
                answer = told()
                self._bucket.check(call, answer)
                stored = s3_answers.stored(answer, digest.crc32c)
                if Feature.BARE_BODY in features:
                    if stored.crc32c is None:
                        # Nobody compared what arrived: it does not count.
                        self._dialect.give_up(Feature.BARE_BODY)
                        return begin(features - {Feature.BARE_BODY})()
                    self._dialect.learn(Feature.BARE_BODY, works=True)
                elif Feature.CHECKSUM in features:
                    self._dialect.learn(Feature.CHECKSUM, works=stored.crc32c is not None)
                s3_answers.check_encryption(answer, self._encryption.get(s3_answers.ENCRYPTION, ""))
                return stored

            return finish

        return self._dialect.begin(wanted, begin)

    def _is_listed(self, key: str) -> bool:
        """Whether something is there, or it can't be known."""
        query = (("list-type", "2"), ("prefix", key), ("max-keys", "1"), ("encoding-type", "url"))
        try:
            root = self._bucket.document(Call(method="GET", key=None, query=query))
        except StoreRefused:
            return True
        encoded = s3_xml.is_url_encoded(root)
        # The shortest of those that begin so comes first.
        return any(s3_xml.key(element, "Key", encoded=encoded) == key for element in s3_xml.each(root, "Contents"))

    def _pages(self, key: str | None, query: tuple[tuple[str, str], ...], markers: dict[str, str]) -> Iterator[Element]:
        """All pages of a listing. `markers`: query parameter → the element of the page before that has its value."""
        position: tuple[tuple[str, str], ...] = ()
        while True:
            root = self._bucket.document(Call(method="GET", key=key, query=query + position))
            yield root
            if s3_xml.text(root, "IsTruncated") != "true":
                return
            before, position = position, tuple((name, s3_xml.marker(root, tag)) for name, tag in markers.items())
            if position == before:
                raise http1.bad_answer("a list that does not come to an end")

    def _checksum_mode(self) -> dict[str, str]:
        return {"x-amz-checksum-mode": "ENABLED"} if self._dialect.speaks(Feature.CHECKSUM) else {}


def connections_for(settings: StoreSettings) -> ConnectionPool:
    """The connections that the settings ask for: trust, proxy, bandwidth."""
    endpoint = endpoint_of(settings)
    return ConnectionPool(
        endpoint,
        ca_file=settings.ca_file,
        proxy=proxy_for(settings, endpoint.host, endpoint.port),
        bandwidth=bandwidth_of(settings.bandwidth_bytes_per_second),
    )


def _sha256(body: FileSlice, digest: PartDigest) -> str:
    """CorruptContent when the slice is not that of `digest` any more: a signature would make it look right."""
    digester = Digester(max(digest.size, 1))
    for position in range(0, digest.size, _BLOCK_BYTES):
        digester.update(read_slice(body, position, min(_BLOCK_BYTES, digest.size - position)))
    found = digester.finish()
    if found.crc32c != digest.crc32c:
        raise CorruptContent(
            f"the file has content of CRC32C {found.crc32c}, not {digest.crc32c}, from byte {digest.offset} on",
            code="BadDigest",
            hint="hash the source again",
        )
    return found.sha256


def _encryption_headers(wanted: str) -> dict[str, str]:
    """`wanted` as in StoreSettings.server_side_encryption."""
    if not wanted.startswith("aws:kms:"):
        return {s3_answers.ENCRYPTION: wanted} if wanted else {}
    return {s3_answers.ENCRYPTION: "aws:kms", _KMS_KEY: wanted.removeprefix("aws:kms:")}
