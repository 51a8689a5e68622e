"""An S3-compatible store that keeps S3's rules and misbehaves as stores do: pinnace.stores.store.MultipartStore.

Faults come before the effect, after it (the answer is lost) or instead of an answer with the effect coming later, when
other calls have been done. What is never done: an object that changes or vanishes after the store has told its true
size and checksum, because nothing short of reading everything back all the time could find that.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar, cast

from pinnace.digests import ContentDigest, Digester, PartDigest
from pinnace.stores.classification import classify
from pinnace.stores.store import (
    CorruptContent,
    Multipart,
    ObjectExists,
    ObjectInfo,
    Part,
    Sink,
    Source,
    Stored,
    StoreError,
    StoreUnreachable,
    TransientStoreError,
)
from support.simulation.disk import SimulatedFile
from support.simulation.machine import Machine

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Content:
    data: bytes
    etag: str
    crc32c: str


@dataclass(slots=True)
class StoreFaults:
    """How probable each misbehaviour is, per call."""

    before: float = 0.0
    after: float = 0.0
    late: float = 0.0
    #: The bytes arrive damaged, and the store sees it.
    corrupt: float = 0.0
    #: The store acknowledges and then holds nothing, or not all of it.
    lose: float = 0.0
    #: An upload under way is forgotten.
    forget: float = 0.0
    #: An upload begun does not appear in listings for a while.
    lag: float = 0.0


class StoreWatch(Protocol):
    """Is told what really happens."""

    def begun(self, key: str) -> None: ...

    def sent(self, key: str) -> None: ...

    def looked(self, key: str) -> None: ...

    def stored(self, key: str) -> None: ...

    def lost(self, key: str) -> None: ...


@dataclass(slots=True)
class _Upload:
    parts: dict[int, _Content] = field(default_factory=dict)
    listed_from: float = 0.0


class SimulatedStore:
    """One bucket. `checksums`: it computes CRC32C, and says so; `conditional`: it can write only where nothing is;
    `md5`: its ETags are MD5s; `hashes_parts`: it is better given a large file whole.
    """

    def __init__(
        self,
        machine: Machine,
        watch: StoreWatch,
        *,
        checksums: bool,
        conditional: bool,
        md5: bool,
        hashes_parts: bool,
    ) -> None:
        self._machine = machine
        self._watch = watch
        self._checksums = checksums
        self._conditional = conditional
        self._md5 = md5
        self.hashes_parts = hashes_parts
        #: Will be lost when it is trusted, unless somebody looks at it before.
        self._doomed: set[str] = set()
        #: Whether what is lost may be lost in part.
        self.truncates = True
        self.faults = StoreFaults()
        #: Until when every call is refused, and with which code.
        self.refused = (0.0, "AccessDenied")
        self.objects: dict[str, _Content] = {}
        self.uploads: dict[Multipart, _Upload] = {}
        self._numbers = 0

    # --- the contract

    def put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Stored:
        content = self._take(source, digest)
        self._watch.begun(key)
        self._watch.sent(key)
        stored = self._call("put", key, lambda: self._store(key, content, replace=replace))
        return Stored(etag=stored.etag, crc32c=stored.crc32c if self._checksums else None)

    def begin_put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Callable[[], Stored]:
        if self._machine.chance(0.5):
            return partial(self.put, key, source, digest, replace=replace)
        # It is done before anything else is, and its answer is read when that is.
        outcome: Stored | StoreError
        try:
            outcome = self.put(key, source, digest, replace=replace)
        except StoreError as error:
            outcome = error

        def finish() -> Stored:
            if isinstance(outcome, StoreError):
                raise outcome
            return outcome

        return finish

    def head(self, key: str) -> ObjectInfo | None:
        def look() -> ObjectInfo | None:
            self._doomed.discard(key)
            self._watch.looked(key)
            held = self.objects.get(key)
            if held is None:
                return None
            return ObjectInfo(
                key=key, size=len(held.data), etag=held.etag, crc32c=held.crc32c if self._checksums else None
            )

        return self._call("head", key, look, reads=True)

    def get(self, key: str, sink: Sink, *, start: int = 0, size: int | None = None) -> ObjectInfo:
        def read() -> _Content:
            if key not in self.objects:
                _refuse(404, "NoSuchKey", key)
            return self.objects[key]

        held = self._call("get", key, read, reads=True)
        sink.write(memoryview(held.data)[start : None if size is None else start + size])
        return ObjectInfo(key=key, size=len(held.data), etag=held.etag)

    def delete(self, key: str) -> None:
        raise AssertionError(f"the sidecar deletes {key}")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        raise AssertionError(f"the sidecar lists {prefix}")

    def create_multipart(self, key: str) -> Multipart:
        def create() -> Multipart:
            self._numbers += 1
            upload = Multipart(key=key, upload_id=f"upload-{self._numbers}")
            lag = self._machine.rng.uniform(0, 20) if self._machine.chance(self.faults.lag) else 0.0
            self.uploads[upload] = _Upload(listed_from=self._machine.elapsed + lag)
            return upload

        self._watch.begun(key)
        # Its effect is never late: a store has begun an upload by the time its client has given up waiting and asks.
        return self._call("create multipart", key, create, may_be_late=False)

    def put_part(self, upload: Multipart, number: int, source: Source, digest: PartDigest) -> Part:
        content = self._take(source, digest)
        if self._machine.chance(self.faults.forget):
            self._machine.note("  the store forgets", upload.upload_id)
            self.uploads.pop(upload, None)

        def put() -> Part:
            self._parts(upload)[number] = content
            return self._part(number, content)

        return self._call(f"put part {number} of {upload.upload_id}", upload.key, put)

    def list_parts(self, upload: Multipart) -> tuple[Part, ...]:
        return self._call(
            f"list parts of {upload.upload_id}",
            upload.key,
            lambda: tuple(self._part(number, held) for number, held in sorted(self._parts(upload).items())),
            reads=True,
        )

    def complete_multipart(
        self, upload: Multipart, parts: Sequence[Part], digest: ContentDigest, *, replace: bool = True
    ) -> Stored:
        def complete() -> _Content:
            arrived = self._parts(upload)
            if not parts or any(p.number not in arrived or arrived[p.number].etag != p.etag for p in parts):
                _refuse(400, "InvalidPart", upload.key)
            whole = b"".join(arrived[part.number].data for part in sorted(parts, key=lambda part: part.number))
            sums = [hashlib.md5(arrived[part.number].data).digest() for part in parts]
            content = self._content(whole, f"{hashlib.md5(b''.join(sums)).hexdigest()}-{len(parts)}")
            if self._checksums and content.crc32c != digest.crc32c:
                _refuse(400, "BadDigest", upload.key)
            acknowledged = self._store(upload.key, content, replace=replace)
            del self.uploads[upload]
            return acknowledged

        self._watch.sent(upload.key)
        stored = self._call(f"complete {upload.upload_id}", upload.key, complete)
        return Stored(etag=stored.etag, crc32c=stored.crc32c if self._checksums else None)

    def abort_multipart(self, upload: Multipart) -> None:
        self._call(f"abort {upload.upload_id}", upload.key, lambda: self.uploads.pop(upload, None))

    def list_multiparts(self, prefix: str) -> Iterator[Multipart]:
        def listed() -> list[Multipart]:
            now = self._machine.elapsed
            return [
                upload
                for upload, held in self.uploads.items()
                if upload.key.startswith(prefix) and held.listed_from <= now
            ]

        return iter(self._call("list multiparts", prefix, listed, reads=True))

    # --- what goes wrong

    def _call(self, what: str, key: str, do: Callable[[], _T], *, reads: bool = False, may_be_late: bool = True) -> _T:
        machine, faults = self._machine, self.faults
        machine.seam("store", what, key[-12:])
        until, code = self.refused
        if machine.elapsed < until:
            machine.note("  refused:", code)
            _refuse(403, code, key)
        if machine.chance(faults.before):
            self._no_answer(key, "nothing done")
        if not reads and may_be_late and machine.chance(faults.late):
            machine.later(machine.rng.expovariate(0.2), f"late {what}", lambda: self._do_late(what, do))
            self._no_answer(key, "to be done later", unreachable=True)
        result = do()
        if machine.chance(faults.after):
            self._no_answer(key, "done", unreachable=not reads)
        # The process may end when the store has done it and the answer is on its way.
        machine.seam("  answered")
        return result

    def _do_late(self, what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except StoreError as error:
            self._machine.note("late", what, "comes to nothing:", error.code)
        else:
            self._machine.note("late", what, "is done")

    def _no_answer(self, key: str, what: str, *, unreachable: bool = False) -> NoReturn:
        self._machine.note(f"  no answer ({what})")
        if unreachable or self._machine.chance(0.5):
            raise StoreUnreachable("the answer was lost")
        raise TransientStoreError("try again", code="ServiceUnavailable", status=503, key=key)

    def _take(self, source: Source, digest: PartDigest) -> _Content:
        """The bytes on their way: read from the copy, damaged at times; the store compares them with the digest."""
        file = cast(SimulatedFile, source)
        data = file.pread(digest.size, digest.offset)
        if len(data) < digest.size:
            raise CorruptContent("the file ends before its digest does", code="SourceTooShort")
        content = self._content(data, hashlib.md5(data).hexdigest())
        # What a part's signature says is taken from the copy just then, and compared with its CRC32C.
        right = content.crc32c == digest.crc32c and digest.sha256 in ("", hashlib.sha256(data).hexdigest())
        if not right or self._machine.chance(self.faults.corrupt):
            self._machine.note("  damaged content arrives")
            raise CorruptContent("the digest differs", code="BadDigest", status=400)
        return content

    def _store(self, key: str, content: _Content, *, replace: bool) -> _Content:
        """Returns what is acknowledged."""
        if self._conditional and not replace and key in self.objects:
            raise ObjectExists(f"{key} is there", code="ObjectExists", status=412, key=key)
        doomed = key not in self.objects and self._machine.chance(self.faults.lose)
        self.objects[key] = content
        self._watch.stored(key)
        if doomed:
            self._doomed.add(key)
            return _Content(content.data, content.etag, "")
        return content

    def trusted(self, key: str) -> None:
        """The sidecar has written down that it was acknowledged, and has not looked: from now on it may get lost."""
        if key in self._doomed:
            self._machine.later(self._machine.rng.choice([0.0, 0.0, 1.0]), "loss", lambda: self._lose(key))

    def _lose(self, key: str) -> None:
        if key not in self._doomed:
            return
        self._doomed.discard(key)
        held = self.objects.pop(key)
        if held.data and self.truncates and self._machine.chance(0.5):
            self.objects[key] = self._content(held.data[:-1], hashlib.md5(held.data[:-1]).hexdigest())
        self._machine.note("store: acknowledged, and lost", key[-12:])
        self._watch.lost(key)

    def _content(self, data: bytes, md5: str) -> _Content:
        digester = Digester(max(len(data), 1))
        digester.update(data)
        digest = digester.finish()
        return _Content(data, md5 if self._md5 else f"etag-{digest.sha256[:16]}", digest.crc32c)

    def _parts(self, upload: Multipart) -> dict[int, _Content]:
        if upload not in self.uploads:
            _refuse(404, "NoSuchUpload", upload.key)
        return self.uploads[upload].parts

    def _part(self, number: int, held: _Content) -> Part:
        crc32c = held.crc32c if self._checksums else None
        return Part(number=number, size=len(held.data), etag=held.etag, crc32c=crc32c)


def _refuse(status: int, code: str, key: str) -> NoReturn:
    error, stable_code, hint = classify(status, code)
    raise cast(Any, error)(f"{key}: {stable_code}", code=stable_code, hint=hint, status=status, key=key)
