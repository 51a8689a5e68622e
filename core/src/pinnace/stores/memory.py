"""A store in memory, for tests of whatever uses a store: the same contract and errors, and faults on demand."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import uuid4

from pinnace.digests import ContentDigest, Digester, PartDigest
from pinnace.stores.classification import classify
from pinnace.stores.store import (
    MAX_PARTS,
    MIN_PART_BYTES,
    CorruptContent,
    Multipart,
    ObjectInfo,
    Part,
    Sink,
    Source,
    Stored,
    StoreError,
    check_key,
    check_range,
)

_T = TypeVar("_T")


class _Object(NamedTuple):
    content: bytes
    etag: str
    crc32c: str
    modified_at: datetime


class _Fault(NamedTuple):
    error: StoreError
    after: bool


class MemoryStore:
    """store.MultipartStore over a dictionary. `min_part_bytes` can be lowered so that tests need no megabytes."""

    def __init__(self, *, min_part_bytes: int = MIN_PART_BYTES) -> None:
        self._min_part_bytes = min_part_bytes
        self._lock = threading.RLock()
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[Multipart, dict[int, _Object]] = {}
        self._faults: deque[_Fault] = deque()
        #: For tests to change.
        self.hashes_parts = False

    # --- for tests only

    def fail_next(self, error: StoreError, *, times: int = 1, after: bool = False) -> None:
        """Let the next `times` calls raise `error`: instead of doing anything, or `after` it was done, like an answer
        that got lost. Several such orders are followed one after the other."""
        self._faults.extend([_Fault(error, after)] * times)

    def mend(self) -> None:
        """Forget the faults that are left."""
        self._faults.clear()

    def contents(self) -> dict[str, bytes]:
        """Everything that is stored, by key."""
        with self._lock:
            return {key: held.content for key, held in self._objects.items()}

    def uploads(self) -> list[Multipart]:
        """The multipart uploads under way."""
        with self._lock:
            return list(self._uploads)

    # --- the contract

    def put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Stored:
        fault = self._enter(key)
        held = _take(source, digest)
        with self._lock:
            self._check_free(key, replace=replace)
            self._objects[key] = held
        return _leave(fault, Stored(etag=held.etag, crc32c=held.crc32c))

    def begin_put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Callable[[], Stored]:
        return partial(self.put, key, source, digest, replace=replace)

    def head(self, key: str) -> ObjectInfo | None:
        fault = self._enter(key)
        with self._lock:
            held = self._objects.get(key)
        return _leave(fault, None if held is None else _info(key, held))

    def get(self, key: str, sink: Sink, *, start: int = 0, size: int | None = None) -> ObjectInfo:
        check_range(start, size)
        fault = self._enter(key)
        with self._lock:
            held = self._objects.get(key)
        if held is None:
            raise _error(404, "NoSuchKey", key)
        is_ranged = start > 0 or size is not None
        if is_ranged and start >= len(held.content):
            raise _error(416, "InvalidRange", key)
        sink.write(memoryview(held.content)[start : None if size is None else start + size])
        return _leave(fault, _info(key, held))

    def delete(self, key: str) -> None:
        fault = self._enter(key)
        with self._lock:
            self._objects.pop(key, None)
        _leave(fault, None)

    def create_multipart(self, key: str) -> Multipart:
        fault = self._enter(key)
        upload = Multipart(key=key, upload_id=uuid4().hex)
        with self._lock:
            self._uploads[upload] = {}
        return _leave(fault, upload)

    def put_part(self, upload: Multipart, number: int, source: Source, digest: PartDigest) -> Part:
        fault = self._enter(upload.key)
        if not 1 <= number <= MAX_PARTS:
            raise _error(400, "InvalidArgument", upload.key)
        held = _take(source, digest)
        with self._lock:
            self._parts_of(upload)[number] = held
        return _leave(fault, _part(number, held))

    def list_parts(self, upload: Multipart) -> tuple[Part, ...]:
        fault = self._enter(upload.key)
        with self._lock:
            parts = tuple(_part(number, held) for number, held in sorted(self._parts_of(upload).items()))
        return _leave(fault, parts)

    def complete_multipart(
        self, upload: Multipart, parts: Sequence[Part], digest: ContentDigest, *, replace: bool = True
    ) -> Stored:
        fault = self._enter(upload.key)
        with self._lock:
            arrived = self._parts_of(upload)
            wanted = sorted(parts, key=lambda part: part.number)
            if not wanted:
                raise _error(400, "MalformedXML", upload.key)
            if any(part.number not in arrived or arrived[part.number].etag != part.etag for part in wanted):
                raise _error(400, "InvalidPart", upload.key)
            pieces = [arrived[part.number].content for part in wanted]
            if any(len(piece) < self._min_part_bytes for piece in pieces[:-1]):
                raise _error(400, "EntityTooSmall", upload.key)
            held = _held(b"".join(pieces), etag_suffix=f"-{len(pieces)}")
            if held.crc32c != digest.crc32c:
                raise _error(400, "BadDigest", upload.key)
            self._check_free(upload.key, replace=replace)
            self._objects[upload.key] = held
            del self._uploads[upload]
        return _leave(fault, Stored(etag=held.etag, crc32c=held.crc32c))

    def abort_multipart(self, upload: Multipart) -> None:
        fault = self._enter(upload.key)
        with self._lock:
            self._uploads.pop(upload, None)
        _leave(fault, None)

    def list_multiparts(self, prefix: str) -> Iterator[Multipart]:
        fault = self._enter()
        with self._lock:
            found = sorted((upload for upload in self._uploads if upload.key.startswith(prefix)), key=_key_bytes)
        return _leave(fault, iter(found))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        fault = self._enter()
        with self._lock:
            found = [_info(key, held) for key, held in self._objects.items() if key.startswith(prefix)]
        return _leave(fault, iter(sorted(found, key=_key_bytes)))

    def _enter(self, key: str | None = None) -> StoreError | None:
        """Raise the fault that is due; returns one that is due after the call has done its work."""
        if key is not None:
            check_key(key)
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
        if fault is not None and not fault.after:
            raise fault.error
        return None if fault is None else fault.error

    def _check_free(self, key: str, *, replace: bool) -> None:
        if not replace and key in self._objects:
            raise _error(412, "PreconditionFailed", key)

    def _parts_of(self, upload: Multipart) -> dict[int, _Object]:
        if upload not in self._uploads:
            raise _error(404, "NoSuchUpload", upload.key)
        return self._uploads[upload]


def _leave(fault: StoreError | None, result: _T) -> _T:
    if fault is not None:
        raise fault
    return result


def _take(source: Source, digest: PartDigest) -> _Object:
    content = bytearray()
    while len(content) < digest.size:
        data = os.pread(source.fileno(), digest.size - len(content), digest.offset + len(content))
        if not data:
            raise CorruptContent("the file ends before its digest does", code="SourceTooShort")
        content += data
    held = _held(bytes(content))
    if digest.sha256 not in ("", hashlib.sha256(content).hexdigest()) or held.crc32c != digest.crc32c:
        raise _error(400, "BadDigest", "")
    return held


def _held(content: bytes, *, etag_suffix: str = "") -> _Object:
    digester = Digester(max(len(content), 1))
    digester.update(content)
    digest = digester.finish()
    return _Object(content, digest.sha256[:32] + etag_suffix, digest.crc32c, datetime.now(UTC))


def _info(key: str, held: _Object) -> ObjectInfo:
    return ObjectInfo(key=key, size=len(held.content), etag=held.etag, crc32c=held.crc32c, modified_at=held.modified_at)


def _part(number: int, held: _Object) -> Part:
    return Part(number=number, size=len(held.content), etag=held.etag, crc32c=held.crc32c)


def _key_bytes(found: ObjectInfo | Multipart) -> bytes:
    return found.key.encode()


def _error(status: int, code: str, key: str) -> StoreError:
    error, stable_code, hint = classify(status, code)
    return error(f"{key}: {stable_code}", code=stable_code, hint=hint, status=status, key=key)
