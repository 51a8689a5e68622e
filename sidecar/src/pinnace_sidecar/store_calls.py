"""Doing one operation at the store and bringing back what came of it, as a value. No decisions, no journal."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec

from pinnace.digests import Digester, PartDigest
from pinnace.errors import PinnaceError
from pinnace.stores.store import (
    CorruptContent,
    Evidence,
    Multipart,
    MultipartStore,
    ObjectExists,
    ObjectInfo,
    Part,
    Stored,
    StoreError,
    StoreRefused,
    TransientStoreError,
)
from pinnace_sidecar.buffer import Buffer, CopiesInTurn
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.originals import CHUNK_BYTES
from pinnace_sidecar.transfer import Job, Operation
from pinnace_sidecar.verification import Compared, Verification

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: So many PUTs of one batch are on their way at a time, each on a connection of its own: sending the next one costs
#: less than sleeping until the answer is there.
AT_ONCE: Final = 4

_CRASH_AFTER: Final = {
    Operation.PUT: CrashPoint.OBJECT_SENT,
    Operation.OPEN: CrashPoint.UPLOAD_OPENED,
    Operation.SEND: CrashPoint.PART_SENT,
    Operation.COMPLETE: CrashPoint.UPLOAD_COMPLETED,
}


class CopyDamaged(PinnaceError):
    """The copy in the buffer is gone or is not what it was when it was made."""

    code = "CopyDamaged"


class CopyUnreadable(PinnaceError):
    """The buffer's disk did not give the copy's bytes. Trying again can help."""

    code = "CopyUnreadable"


class Found(msgspec.Struct, frozen=True):
    """LOOK: the whole object is there (with its ETag), or nothing of it is, or an upload of it.

    PUT, COMPLETE: the object was there before. SHARE: the other artifact's object is there, or is not what it was.
    """

    etag: str | None = None
    evidence: Evidence = Evidence.SIZE
    upload: Multipart | None = None


class Opened(msgspec.Struct, frozen=True):
    """OPEN"""

    upload: Multipart


class Listed(msgspec.Struct, frozen=True):
    """LIST: the parts that arrived and are ours by size and checksum."""

    parts: tuple[Part, ...]


class Sent(msgspec.Struct, frozen=True):
    """SEND"""

    part: Part


class Acknowledged(msgspec.Struct, frozen=True):
    """PUT, COMPLETE: the store says that it has all of it. `verified`: and that it is ours, so that needs no look."""

    stored: Stored
    verified: bool


class Aborted(msgspec.Struct, frozen=True):
    """ABORT"""


class Failed(msgspec.Struct, frozen=True):
    """Any operation."""

    error: StoreError | CopyDamaged | CopyUnreadable

    @property
    def may_pass(self) -> bool:
        """Whether the store may do it another time."""
        return isinstance(self.error, StoreError) and (self.error.try_again or self.error.whole_store)


class Untried(msgspec.Struct, frozen=True):
    """Any operation: one before it in the same batch failed, or took too long."""


Result = Found | Opened | Listed | Sent | Acknowledged | Compared | Aborted | Failed | Untried


class Answer(msgspec.Struct, frozen=True):
    """What came of a job."""

    job: Job
    result: Result


class Carrier(Protocol):
    """Takes copies to where they belong: StoreCalls to an object store, UploadCalls to the API."""

    @property
    def hashes_parts(self) -> bool:
        """As a store's own."""
        ...

    def call(self, jobs: Sequence[Job], longest: float) -> tuple[Answer, ...]:
        """Do them; what goes wrong is in the answers. After `longest` seconds the rest is left untried."""
        ...


class StoreCalls:
    """Carries copies to one store. Safe to use from several threads."""

    def __init__(
        self,
        store: MultipartStore,
        buffer: Buffer,
        crash: Crash,
        monotonic: Callable[[], float],
        *,
        read_back: bool = False,
    ) -> None:
        self._store = store
        self._buffer = buffer
        self._crash = crash
        self._monotonic = monotonic
        self._verification = Verification(store, buffer, read_back=read_back)

    @property
    def hashes_parts(self) -> bool:
        """As the store's own."""
        return self._store.hashes_parts

    def call(self, jobs: Sequence[Job], longest: float) -> tuple[Answer, ...]:
        """Do them in turn; some PUTs are on their way while the answer to the first of them is awaited. After a
        failure, or after `longest` seconds, those that were not begun are left untried.

        Errors of the store and of the copy are results, not exceptions.
        """
        answers: list[Answer] = []
        under_way: deque[tuple[Job, Callable[[], Result]]] = deque()
        ends_at = self._monotonic() + longest
        with self._buffer.in_turn(AT_ONCE) as copies:
            for job in jobs:
                if len(under_way) == AT_ONCE:
                    answers.append(self._finished(*under_way.popleft()))
                if (answers and isinstance(answers[-1].result, Failed)) or self._monotonic() > ends_at:
                    break
                begun = self._tried(job, partial(self._begin, job, copies))
                if isinstance(begun, Failed):
                    answers.append(Answer(job, begun))
                    break
                under_way.append((job, begun))
            answers += [self._finished(*each) for each in under_way]
        return (*answers, *(Answer(job, Untried()) for job in jobs[len(answers) :]))

    def _finished(self, job: Job, finish: Callable[[], Result]) -> Answer:
        result = self._tried(job, finish)
        if not isinstance(result, Failed) and (point := _CRASH_AFTER.get(job.operation)):
            self._crash(point)
        return Answer(job, result)

    def _tried(self, job: Job, step: Callable[[], _T]) -> _T | Failed:
        try:
            return step()
        except StoreError as error:
            return Failed(self._judged(job, error))
        except OSError as error:
            return Failed(unread(job, error))

    def _begin(self, job: Job, copies: CopiesInTurn) -> Callable[[], Result]:  # noqa: PLR0911 - one line per operation
        """What is returned does the rest: of a PUT it waits for the answer, of others it is all."""
        match job.operation:
            case Operation.LOOK:
                return partial(self._look, job)
            case Operation.SHARE:
                return partial(self._share, job)
            case Operation.PUT:
                return self._begin_put(job, copies)
            case Operation.OPEN:
                return lambda: Opened(self._store.create_multipart(job.key))
            case Operation.LIST:
                return partial(self._list, job)
            case Operation.SEND:
                return partial(self._send, job, copies)
            case Operation.COMPLETE:
                return partial(self._complete, job)
            case Operation.VERIFY:
                return partial(self._verify, job)
            case Operation.ABORT:
                return partial(self._abort, job)

    def _abort(self, job: Job) -> Aborted:
        self._store.abort_multipart(_upload(job))
        return Aborted()

    def _look(self, job: Job) -> Found:
        """What of this file is in the store. Uploads under its key that are not needed are removed on the way."""
        info = self._store.head(job.key)
        evidence = self._same(job, info) if info else None
        uploads = [job.upload] if job.upload else []
        if len(job.file.kept.parts) > 1:
            uploads += [upload for upload in self._under_way(job.key) if upload != job.upload]
        if info and evidence:
            keep, found = None, Found(etag=info.etag, evidence=evidence)
        else:
            keep = uploads[0] if uploads else None
            found = Found(upload=keep)
        for upload in uploads:
            if upload != keep:
                self._store.abort_multipart(upload)
        return found

    def _under_way(self, key: str) -> list[Multipart]:
        """Uploads of this key; none where the credentials may not list them: no store can limit that to keys."""
        try:
            return [upload for upload in self._store.list_multiparts(key) if upload.key == key]
        except StoreRefused as error:
            if error.code != "AccessDenied":
                raise
            return []

    def _share(self, job: Job) -> Found:
        assert job.shared is not None
        info = self._store.head(job.shared.location.key)
        compared = self._verification.compare_recorded(job.shared, info) if info else None
        if info is None or compared is None or compared.difference:
            what = compared.difference if compared else "it is gone"
            _log.warning(
                "an object is not what is recorded", extra={"key": job.shared.location.key, "difference": what}
            )
            return Found()
        return Found(etag=info.etag, evidence=compared.evidence)

    def _same(self, job: Job, info: ObjectInfo) -> Evidence | None:
        """What says that the object is this file; None for one of ours that is not, and is to be replaced.

        Raises ObjectExists for another's, which nobody overwrites.
        """
        compared = self._verification.compare(job.file, info)
        if not compared.difference:
            return compared.evidence
        if not job.replace:
            raise ObjectExists(
                f"another object lies under {job.key}: {compared.difference}",
                code="ObjectExists",
                hint="find out who wrote it; nothing was overwritten",
                key=job.key,
            )
        _log.warning("the object is not what it should be", extra={"key": job.key, "difference": compared.difference})
        return None

    def _begin_put(self, job: Job, copies: CopiesInTurn) -> Callable[[], Result]:
        copy = copies.open(job.file.name)
        answer = self._store.begin_put(job.key, copy.source, copy.slice(job.file.kept.whole), replace=job.replace)
        return partial(self._put, job, answer)

    def _put(self, job: Job, answer: Callable[[], Stored]) -> Acknowledged | Found:
        try:
            stored = answer()
        except ObjectExists:
            return self._found_there(job)
        vouched = Evidence.CRC32C if stored.crc32c == job.file.kept.crc32c else Evidence.SIZE
        return Acknowledged(stored, verified=self._verification.enough(vouched))

    def _complete(self, job: Job) -> Acknowledged | Found:
        upload = _upload(job)
        try:
            stored = self._store.complete_multipart(upload, job.parts, job.file.kept, replace=job.replace)
        except ObjectExists:
            found = self._found_there(job)
            self._store.abort_multipart(upload)
            return found
        return Acknowledged(stored, verified=False)

    def _found_there(self, job: Job) -> Found:
        """The store did not write because something is there: it has to be the same."""
        info = self._store.head(job.key)
        evidence = self._same(job, info) if info else None
        if info is None or evidence is None:
            raise TransientStoreError("what lay under the key is gone again", code="OperationAborted", key=job.key)
        return Found(etag=info.etag, evidence=evidence)

    def _list(self, job: Job) -> Listed:
        digests = job.file.kept.parts
        return Listed(
            tuple(
                part
                for part in self._store.list_parts(_upload(job))
                if part.number <= len(digests) and _matches(part, digests[part.number - 1])
            )
        )

    def _send(self, job: Job, copies: CopiesInTurn) -> Sent:
        digest = job.file.kept.parts[job.number - 1]
        copy = copies.open(job.file.name)
        return Sent(self._store.put_part(_upload(job), job.number, copy.source, copy.slice(digest)))

    def _verify(self, job: Job) -> Compared:
        info = self._store.head(job.key)
        if info is None:
            return Compared("the store holds nothing under this key", Evidence.SIZE)
        return self._verification.compare(job.file, info, job.file.etag)

    def _judged(self, job: Job, error: StoreError) -> StoreError | CopyDamaged | CopyUnreadable:
        """Bytes that arrived wrong were damaged on the way or in the buffer: read them again to know which."""
        if not isinstance(error, CorruptContent):
            return error
        digest = job.file.kept
        suspect = digest.parts[job.number - 1] if job.operation is Operation.SEND else digest.whole
        try:
            return error if is_intact(self._buffer, job.file.name, suspect) else damaged(job)
        except OSError as broken:
            return unread(job, broken)


def is_intact(buffer: Buffer, name: str, digest: PartDigest) -> bool:
    """Whether a copy still has these bytes. Raises OSError."""
    digester = Digester(max(digest.size, 1))
    with buffer.open(name) as copy:
        copy.seek(digest.offset)
        left = digest.size
        while left and (data := copy.read(min(left, CHUNK_BYTES))):
            digester.update(data)
            left -= len(data)
    found = digester.finish()
    return found.crc32c == digest.crc32c and digest.sha256 in ("", found.sha256)


def damaged(job: Job) -> CopyDamaged:
    """The result for a copy that can be read and is wrong."""
    return CopyDamaged(f"the copy of {job.file.path} is not what it was")


def unread(job: Job, error: OSError) -> CopyDamaged | CopyUnreadable:
    """The result for a copy that can't be read."""
    message = f"the copy of {job.file.path} can't be read: {error}"
    return CopyDamaged(message) if isinstance(error, FileNotFoundError) else CopyUnreadable(message)


def _upload(job: Job) -> Multipart:
    assert job.upload is not None
    return job.upload


def _matches(part: Part, digest: PartDigest) -> bool:
    return part.size == digest.size and part.crc32c in (None, digest.crc32c)
