"""Bytes in the buckets of an S3-compatible store, by the sidecar's client and signer: `<prefix>/<aa>/<uuid>`.

A content of up to one part goes in one PUT, a longer one as a multipart upload; a part waits in an unnamed file until
it is full, because its checksum goes before it. Afterwards the store is asked what it holds.
"""

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from pinnace.digests import ContentDigest, Digester
from pinnace.records import Backend, Location
from pinnace.settings import StoreSettings
from pinnace.stores.credentials import CredentialsSource
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import (
    MAX_PARTS,
    Multipart,
    NoSuchMultipart,
    NoSuchObject,
    Part,
    Stored,
    StoreError,
)
from pinnace_api.clock import now
from pinnace_api.refusals import BytesMissing, StorageFull, StorageUnknown, TooLarge, Unavailable
from pinnace_api.storage.backend import Held, Written
from pinnace_api.storage.keys import made_at, new_key, uuid_in

_T = TypeVar("_T")

PART_BYTES: Final = 16 * 2**20
_BLOCK_BYTES: Final = 4 * 2**20
#: How long to wait before each new try of a call that may work in a moment.
_PAUSES: Final = (0.2, 1.0, 3.0)
_FULL: Final = frozenset({"StorageFull", "QuotaExceeded"})


class S3ByteStore:
    """New bytes go to the settings' bucket; others are found in every bucket of the store, and of `endpoints`.

    `endpoints` are other addresses whose buckets may be read, because rows name them. An address that is not among them
    is never asked, whoever wrote it into a row.
    """

    name = Backend.S3
    block_bytes = _BLOCK_BYTES

    def __init__(
        self,
        settings: StoreSettings,
        credentials: CredentialsSource,
        *,
        endpoints: tuple[str, ...] = (),
        part_bytes: int = PART_BYTES,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._endpoints = frozenset({_plain(endpoint) for endpoint in (settings.endpoint, *endpoints)})
        self._part_bytes = part_bytes
        self._pauses = pauses
        self._stores: dict[tuple[str, str, str], S3Store] = {}
        self._lock = threading.Lock()

    def writer(self, size: int | None = None) -> "_S3Writer":
        part_bytes = max(self._part_bytes, -(-(size or 0) // MAX_PARTS))
        location = self._location(new_key(self._settings.prefix, now()))
        return _S3Writer(self._store(location), location, part_bytes, self.again, read_back=self._settings.read_back)

    def read(self, location: Location, start: int, size: int) -> bytes:
        store = self._store(location)

        def read() -> bytes:
            sink = _Sink()
            try:
                store.get(location.key, sink, start=start, size=size)
            except StoreError as error:
                if error.code == "InvalidRange":
                    return b""
                raise
            return bytes(sink.data)

        return self.again(read, location)

    def size(self, location: Location) -> int | None:
        info = self.again(lambda: self._store(location).head(location.key), location)
        return None if info is None else info.size

    def delete(self, location: Location) -> None:
        self.again(lambda: self._store(location).delete(location.key), location)

    def presigned(self, location: Location, seconds: int, headers: Mapping[str, str]) -> str | None:
        query = tuple((f"response-{name}", value) for name, value in headers.items())
        with _refusing(location):
            return self._store(location).presigned(location.key, seconds=seconds, query=query)

    def list(self) -> Iterator[Held]:
        prefix = f"{self._settings.prefix.strip('/')}/" if self._settings.prefix.strip("/") else ""
        store = self._store(self._location(""))
        with _refusing(self._location(prefix)):
            for found in store.list(prefix):
                if uuid_in(found.key) is not None:
                    written_at = found.modified_at or now()
                    yield Held(location=self._location(found.key), size=found.size, written_at=written_at)
            for upload in store.list_multiparts(prefix):
                begun_at = made_at(upload.key)
                if begun_at is not None:
                    yield Held(
                        location=self._location(upload.key), size=0, written_at=begun_at, handle=upload.upload_id
                    )

    def discard(self, held: Held) -> None:
        if not held.handle:
            self.delete(held.location)
            return
        upload = Multipart(key=held.location.key, upload_id=held.handle)
        self.again(lambda: self._store(held.location).abort_multipart(upload), held.location)

    def check(self) -> None:
        with _refusing(self._location("")):
            self._store(self._location("")).head("pinnace-readiness")

    def close(self) -> None:
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def again(self, call: Callable[[], _T], location: Location) -> _T:
        """Do it, and once more after each pause while that can help. The store's errors become refusals."""
        with _refusing(location):
            for pause in self._pauses:
                try:
                    return call()
                except StoreError as error:
                    if not error.try_again:
                        raise
                    threading.Event().wait(max(pause, min(error.retry_after, 10.0)))
            return call()

    def _store(self, location: Location) -> S3Store:
        if _plain(location.endpoint) not in self._endpoints:
            raise StorageUnknown(location)
        where = (location.endpoint, location.region, location.bucket)
        with self._lock:
            if where not in self._stores:
                try:
                    settings = msgspec.structs.replace(
                        self._settings, endpoint=where[0], region=where[1] or self._settings.region, bucket=where[2]
                    )
                except ValueError:
                    raise StorageUnknown(location) from None
                self._stores[where] = S3Store(settings, self._credentials)
            return self._stores[where]

    def _location(self, key: str) -> Location:
        settings = self._settings
        return Location(
            backend=Backend.S3, endpoint=settings.endpoint, region=settings.region, bucket=settings.bucket, key=key
        )


class _S3Writer:
    """A Writer of one object."""

    def __init__(
        self,
        store: S3Store,
        location: Location,
        part_bytes: int,
        again: Callable[[Callable[[], object], Location], object],
        *,
        read_back: bool,
    ) -> None:
        self._store = store
        self._location = location
        self._part_bytes = part_bytes
        self._again = again
        self._read_back = read_back
        self._digester = Digester(part_bytes)
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish and abort
        self._spooled = 0
        self._upload: Multipart | None = None
        self._parts: list[Part] = []

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._spooled == self._part_bytes:
                self._send_part()
            chunk = view[: self._part_bytes - self._spooled]
            with _spooling():
                self._spool.write(chunk)
            self._spooled += len(chunk)
            self._digester.update(bytes(chunk))
            view = view[len(chunk) :]

    def finish(self) -> Written:
        with _spooling():
            self._spool.flush()
        digest = self._digester.finish()
        etag = self._complete(digest) if self._upload else self._put(digest)
        self._compare(digest, etag)
        self._upload = None
        self._spool.close()
        return Written(location=self._location, digest=digest, etag=etag)

    def abort(self) -> None:
        self._spool.close()
        if self._upload is not None:
            upload, self._upload = self._upload, None
            with suppress(StoreError):  # what is left is found by the garbage collector
                self._store.abort_multipart(upload)

    def _put(self, digest: ContentDigest) -> str:
        stored: list[Stored] = []
        key = self._location.key
        self._again(lambda: stored.append(self._store.put(key, self._spool, digest.whole)), self._location)
        return stored[-1].etag

    def _send_part(self) -> None:
        with _spooling():
            self._spool.flush()
        if self._upload is None:
            begun: list[Multipart] = []
            self._again(lambda: begun.append(self._store.create_multipart(self._location.key)), self._location)
            self._upload = begun[-1]
        number = len(self._parts) + 1
        if number > MAX_PARTS:
            raise TooLarge(
                f"more than {MAX_PARTS * self._part_bytes} bytes without a length",
                hint="send Content-Length, and the parts are made larger",
            )
        upload, part = self._upload, msgspec.structs.replace(self._digester.open_part(), offset=0)
        self._again(lambda: self._parts.append(self._store.put_part(upload, number, self._spool, part)), self._location)
        with _spooling():
            self._spool.seek(0)
            self._spool.truncate()
        self._spooled = 0

    def _complete(self, digest: ContentDigest) -> str:
        self._send_part()
        upload = self._upload
        assert upload is not None
        etags = [""]

        def complete() -> None:
            try:
                etags.append(self._store.complete_multipart(upload, self._parts, digest).etag)
            except NoSuchMultipart:
                # An earlier try may have done it, and its answer got lost: `_compare` looks.
                if self._store.head(self._location.key) is None:
                    raise

        self._again(complete, self._location)
        return etags[-1]

    def _compare(self, digest: ContentDigest, etag: str) -> None:
        found: list[str] = []

        def look() -> None:
            info = self._store.head(self._location.key)
            found.append("the store holds nothing" if info is None else info.difference(digest, etag))
            if self._read_back and not found[-1]:
                sink = _Hash()
                self._store.get(self._location.key, sink)
                if sink.sha256.hexdigest() != digest.sha256:
                    found.append(f"the store gives content of SHA-256 {sink.sha256.hexdigest()}")

        self._again(look, self._location)
        if found[-1]:
            raise Unavailable(
                f"the store took the bytes and did not keep them as they were: {found[-1]}", hint="send them again"
            )


class _Sink:
    """Bytes in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: memoryview, /) -> None:
        self.data += data


class _Hash:
    """The digest of bytes."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: memoryview, /) -> None:
        self.sha256.update(data)


class _refusing:  # noqa: N801 - used as a `with`, which costs less than a generator
    """The store's errors as refusals."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case NoSuchObject():
                raise BytesMissing(self._location) from error
            case StoreError() if error.code in _FULL:
                raise StorageFull("the object store is full") from error
            case StoreError():
                raise Unavailable(f"the object store: {error.code}", hint=error.hint or "try again") from error


class _spooling:  # noqa: N801 - as above
    """The errors of the unnamed file as refusals."""

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise StorageFull("there is no room for the part that is being sent", hint="enlarge /tmp") from error


def _plain(endpoint: str) -> str:
    return endpoint.rstrip("/").lower()
