"""The API's own uploads in the place of an object store: for one who has an API and no bucket.

The API compares what arrives with the SHA-256 that was announced, keeps the bytes where it is configured to, and only
then makes the row; so a copy that arrived is a row already, and the same copy sent again is the same row. An upload
that broke off goes on where it ended, also for another process: its id is made of what it is of. Files go whole,
however large they are; nothing here knows of parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO, Final, Protocol, cast
from uuid import UUID, uuid5

from pinnace.client import ApiError, Conflict, Invalid, NotFound, Unavailable, Unreachable
from pinnace.records import Artifact, Upload, UploadWrite
from pinnace.stores.store import (
    CorruptContent,
    Evidence,
    Stored,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    TerminalStoreError,
    TransientStoreError,
)
from pinnace_sidecar.api_calls import modified_at
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.files import wire_path
from pinnace_sidecar.journal import JournaledFile
from pinnace_sidecar.store_calls import (
    Acknowledged,
    Answer,
    Failed,
    Found,
    Result,
    Untried,
    damaged,
    is_intact,
    unread,
)
from pinnace_sidecar.transfer import Job, Operation
from pinnace_sidecar.verification import Compared

_FULL: Final = HTTPStatus.INSUFFICIENT_STORAGE


class FilesApi(Protocol):
    """What this needs of the API; pinnace.client.Client has it. Raises ApiError."""

    def artifact(self, artifact_id: UUID, /) -> Artifact: ...

    def put_upload(self, iteration_id: UUID, upload_id: UUID, upload: UploadWrite, /) -> Upload: ...

    def append_to_upload(
        self, iteration_id: UUID, upload_id: UUID, content: BinaryIO, /, *, offset: int, size: int
    ) -> Artifact | None: ...

    def delete_upload(self, iteration_id: UUID, upload_id: UUID, /) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiFiles:
    """The files of one iteration, kept by the API."""

    api: FilesApi
    iteration_id: UUID


class UploadCalls:
    """Carries copies to the API. Safe to use from several threads."""

    #: So files are given whole.
    hashes_parts: Final = True

    def __init__(self, to: ApiFiles, buffer: Buffer, crash: Crash, monotonic: Callable[[], float]) -> None:
        self._api = to.api
        self._iteration_id = to.iteration_id
        self._buffer = buffer
        self._crash = crash
        self._monotonic = monotonic

    def call(self, jobs: Sequence[Job], longest: float) -> tuple[Answer, ...]:
        """Do them one after the other; after a failure, or after `longest` seconds, the others are left untried.

        Errors of the API and of the copy are results, not exceptions.
        """
        answers: list[Answer] = []
        ends_at = self._monotonic() + longest
        for job in jobs:
            result = self._tried(job)
            answers.append(Answer(job, result))
            if isinstance(result, Failed) or self._monotonic() > ends_at:
                break
        return (*answers, *(Answer(job, Untried()) for job in jobs[len(answers) :]))

    def _tried(self, job: Job) -> Result:
        try:
            return self._do(job)
        except ApiError as error:
            return Failed(_as_of_a_store(error, job.key))
        except StoreError as error:
            return Failed(error)
        except OSError as error:
            return Failed(unread(job, error))

    def _do(self, job: Job) -> Result:
        match job.operation:
            case Operation.LOOK:
                return (
                    Found(etag=job.file.digest.sha256, evidence=Evidence.CRC32C) if self._holds(job.file) else Found()
                )
            case Operation.VERIFY:
                return Compared("" if self._holds(job.file) else "the API has no such file", Evidence.CRC32C)
            case Operation.PUT:
                return self._put(job)
            case _:
                # A copy that was made for a store, in parts.
                raise TerminalStoreError("the API takes no parts", code="NoParts", key=job.key)

    def _holds(self, file: JournaledFile) -> bool:
        """Whether there is a row of this very content. One that is suspect is sent again by one that isn't."""
        try:
            there = self._api.artifact(file.artifact_id)
        except NotFound:
            return False
        return there.crc32c == file.digest.crc32c and (file.suspect or not there.suspect)

    def _put(self, job: Job) -> Result:
        file, write = job.file, _announced(job.file)
        # What it says of itself is part of its id: the same content may come again at another time, and complete.
        id_ = uuid5(file.artifact_id, f"{file.fingerprint.mtime_ns}:{file.suspect}")
        upload = self._api.put_upload(self._iteration_id, id_, write)
        try:
            artifact = self._completed(file, upload)
        except Invalid as error:
            if error.field != "sha256":
                raise
            self._api.delete_upload(self._iteration_id, id_)
            if not is_intact(self._buffer, file.name, file.digest.whole):
                return Failed(damaged(job))
            raise CorruptContent(error.detail, code="BadDigest", key=job.key) from error
        self._crash(CrashPoint.OBJECT_SENT)
        return Acknowledged(Stored(etag=artifact.sha256, crc32c=artifact.crc32c), verified=True)

    def _completed(self, file: JournaledFile, upload: Upload) -> Artifact:
        if upload.artifact_id is not None:
            return self._api.artifact(upload.artifact_id)
        with self._buffer.open(file.name) as copy:
            copy.seek(upload.received)
            artifact = self._api.append_to_upload(
                self._iteration_id,
                upload.id,
                cast(BinaryIO, copy),  # of which only `read` is needed
                offset=upload.received,
                size=file.digest.size - upload.received,
            )
        if artifact is None:
            raise TransientStoreError("the upload is not complete", code="OperationAborted")
        return artifact


def _announced(file: JournaledFile) -> UploadWrite:
    return UploadWrite(
        path=wire_path(file.path),
        size=file.digest.size,
        sha256=file.digest.sha256,
        modified_at=modified_at(file.fingerprint.mtime_ns),
        suspect=file.suspect,
    )


def _as_of_a_store(error: ApiError, key: str) -> StoreError:
    """What the shipper does about it: wait for the API, for a person, or give this one file up."""
    message, hint, code = str(error), error.hint, "".join(word.title() for word in error.code.split("-"))
    if isinstance(error, Unreachable):
        return StoreUnreachable(message, hint=hint)
    if isinstance(error, Unavailable):
        return TransientStoreError(
            message, code=code or "ApiUnavailable", hint=hint, retry_after=error.retry_after or 0
        )
    if isinstance(error, Conflict) and error.code == "offset-mismatch":
        return TransientStoreError(message, code=code, hint=hint, key=key)
    if isinstance(error, Conflict | Invalid | NotFound) and error.code != "iteration-not-found":
        return TerminalStoreError(message, code=code or "ApiRefused", hint=hint, status=error.status, key=key)
    if error.status is not None and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.status != _FULL:
        return TransientStoreError(message, code=code or "ApiFailed", hint=hint, status=error.status, key=key)
    return StoreRefused(message, code=code or "ApiRefused", hint=hint, status=error.status)
