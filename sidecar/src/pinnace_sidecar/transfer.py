"""One file's way from the buffer to the store, and the pure decision what to do for it next.

A small file is one PUT. A large one is a multipart upload whose id is in the journal before the first part is sent;
after a restart the store is asked which parts it has. Where parts cost a second SHA-256 of every byte, a large file is
one PUT too, and goes in parts once that broke off (docs/decisions/0017). Before anything is sent a second time the
store is asked what it holds: the answer to the first time may only have got lost.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from pinnace.records import FileState, RecordedContent
from pinnace.stores.store import CorruptContent, Multipart, ObjectExists, Part, StoreError
from pinnace_sidecar import backoff
from pinnace_sidecar.backoff import Backoff
from pinnace_sidecar.journal import JournaledFile
from pinnace_sidecar.lifecycle import DUTIES, Duty, Event


class Operation(StrEnum):
    """One thing to do at the store."""

    #: Does it hold the object, or an upload of it?
    LOOK = "look"
    #: Is the object that it may share as it was recorded?
    SHARE = "share"
    #: Send the whole file.
    PUT = "put"
    #: Begin a multipart upload.
    OPEN = "open"
    #: Which parts arrived?
    LIST = "list"
    #: Send one part.
    SEND = "send"
    #: Make the object of its parts.
    COMPLETE = "complete"
    #: Compare what it holds with our digests.
    VERIFY = "verify"
    #: Remove an upload that will not be completed.
    ABORT = "abort"


#: When a copy could not be read so often in a row, nobody counts on it any more.
MAX_UNREAD: Final = 5

#: What succeeds proves that the store works for all that asks no more of it: a full bucket can still be looked at, and
#: uploads be opened in it.
DEMANDS: Final = MappingProxyType(
    {
        Operation.LOOK: 0,
        Operation.SHARE: 0,
        Operation.LIST: 0,
        Operation.VERIFY: 0,
        Operation.ABORT: 0,
        Operation.OPEN: 1,
        Operation.PUT: 2,
        Operation.SEND: 2,
        Operation.COMPLETE: 2,
    }
)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """An operation with all it needs to know."""

    operation: Operation
    file: JournaledFile
    key: str
    upload: Multipart | None = None
    number: int = 0
    parts: tuple[Part, ...] = ()
    shared: RecordedContent | None = None

    @property
    def replace(self) -> bool:
        """Whether what lies under the key may be overwritten: only what the store once acknowledged to us."""
        return bool(self.file.etag)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a transfer that can't reach the store: LOST or REFUSED, with reason and message for a person."""

    event: Event
    reason: str
    message: str


class Transfer(msgspec.Struct, kw_only=True):
    """What is known of a file under way. Only the main loop changes it."""

    file: JournaledFile
    key: str
    #: The store may hold something of this file already.
    look: bool
    #: Whether it goes in parts, if it has several.
    in_parts: bool = True
    upload: Multipart | None = None
    #: Whether the API is still to be asked for another artifact's object with this content, and what it answered.
    asks: bool = True
    shared: RecordedContent | None = None
    #: The upload can't be completed: it is aborted, and another one begun. (A MinIO that loses its client while it
    #: completes an upload finds a wrong checksum in it from then on.)
    begins_anew: bool = False
    #: Whether `parts` is all that the store has.
    listed: bool = False
    parts: dict[int, Part] = msgspec.field(default_factory=dict)
    sending: set[int] = msgspec.field(default_factory=set)
    #: An operation is out that nothing else can go beside.
    busy: bool = False
    verdict: Verdict | None = None
    #: How often in a row its copy could not be read.
    unread: int = 0
    backoff: Backoff = backoff.NONE

    @property
    def large(self) -> bool:
        """Whether it can go in parts: it was digested in parts then."""
        return len(self.file.kept.parts) > 1

    @property
    def unreadable(self) -> bool:
        """Whether its copy can't be read, and not only for a moment."""
        return self.unread >= MAX_UNREAD

    def divide(self) -> bool:
        """From now on it goes in parts; whether that is news."""
        was_whole, self.in_parts = self.large and not self.in_parts, True
        return was_whole

    def gave(self, job: Job) -> None:
        """It is under way."""
        if job.operation is Operation.SEND:
            self.sending.add(job.number)
        else:
            self.busy = True

    def came_back(self, job: Job) -> None:
        """It is no longer under way."""
        if job.operation is Operation.SEND:
            self.sending.discard(job.number)
        else:
            self.busy = False

    def refused(self, job: Job, *, bytes_wrong: bool) -> None:
        """The store did not do it. A completion had wrong parts in it: its own list mends that, or another upload."""
        if job.operation is Operation.COMPLETE:
            self.listed, self.begins_anew = False, bytes_wrong

    @property
    def idle(self) -> bool:
        return not self.busy and not self.sending

    @property
    def _may_share(self) -> bool:
        # An upload that is under way would be left behind.
        return self.shared is not None and self.upload is None

    def begin_again(self, file: JournaledFile) -> None:
        """There is another copy, of which nothing bad is known."""
        self.file, self.verdict, self.unread, self.backoff = file, None, 0, backoff.NONE
        self.look, self.listed = True, False

    def next_jobs(self, room: int) -> list[Job]:
        """What to do now, at most `room` operations; nothing while an answer is awaited that decides it."""
        if self.busy or room < 1:
            return []
        if self.verdict is not None or self.begins_anew:
            return [self._job(Operation.ABORT)] if self.upload is not None and self.idle else []
        if DUTIES.get(self.file.state) is Duty.VERIFY:
            return [self._job(Operation.VERIFY)]
        if self.file.state is not FileState.BUFFERED:
            return []
        if self.look or self._may_share:
            return [self._job(Operation.LOOK if self.look else Operation.SHARE)] if self.idle else []
        return self._next_parts(room) if self.large and self.in_parts else [self._job(Operation.PUT)]

    def _next_parts(self, room: int) -> list[Job]:
        if self.upload is None:
            return [self._job(Operation.OPEN)]
        if not self.listed:
            return [self._job(Operation.LIST)]
        count = len(self.file.kept.parts)
        if len(self.parts) == count:
            return [self._job(Operation.COMPLETE)]
        missing = (number for number in range(1, count + 1) if number not in self.parts and number not in self.sending)
        return [self._job(Operation.SEND, number) for number, _ in zip(missing, range(room), strict=False)]

    def _job(self, operation: Operation, number: int = 0) -> Job:
        parts = tuple(self.parts[number] for number in sorted(self.parts)) if operation is Operation.COMPLETE else ()
        return Job(
            operation=operation,
            file=self.file,
            key=self.key,
            upload=self.upload,
            number=number,
            parts=parts,
            shared=self.shared,
        )


def may_work_later(error: StoreError, operation: Operation) -> bool:
    """Of an error that concerns one file: whether to try again. Wrong parts of a completion are sent again first."""
    if isinstance(error, ObjectExists):
        return False
    return error.try_again or isinstance(error, CorruptContent) or operation in (Operation.COMPLETE, Operation.SHARE)
