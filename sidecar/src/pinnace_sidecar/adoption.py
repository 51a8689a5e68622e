"""At a start: copies in the buffer that the journal does not know are taken into it, never thrown away.

They are there when a process ended between the two, or when the journal was lost.
"""

import logging
import os
import random
from typing import Final
from uuid import UUID

from pinnace.ids import object_name
from pinnace_sidecar import backoff
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Copy, Journal
from pinnace_sidecar.problems import Problems

_log = logging.getLogger(__name__)

#: The subject of problems with copies that don't say what they are.
COPIES: Final = "copies"
_UNKNOWN: Final = "CopiesUnknown"


class Adoption:
    """Takes copies into the journal at a start, and later those that can't be read by then."""

    def __init__(
        self,
        buffer: Buffer,
        journal: Journal,
        iteration_id: UUID,
        problems: Problems,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._buffer = buffer
        self._journal = journal
        self._iteration_id = iteration_id
        self._problems = problems
        self._clock = clock
        self._rng = rng
        self._pause = backoff.NONE
        self._nameless: list[str] = []
        self._adopt()

    @property
    def awaits(self) -> bool:
        """Whether there are copies that may say later what they are."""
        return bool(self._buffer.unread)

    def unknown(self) -> int:
        """How many copies don't say what they are, and were not made again: each may be the only one of a file."""
        if self._nameless:
            left = [name for name in self._nameless if not self._journal.files.knows(name)]
            if left != self._nameless:
                self._nameless = left
                _tell(left, self._problems, self._clock.monotonic())
        return len(self._nameless)

    def advance(self) -> None:
        """Read them again, with pauses."""
        if self.awaits and self._pause.due(self._clock.monotonic()):
            self._buffer.read_again()
            self._adopt()

    def due_in(self) -> float | None:
        """Seconds until that is to be done; None when there are none."""
        return max(0.0, self._pause.due_at - self._clock.monotonic()) if self.awaits else None

    def _adopt(self) -> None:
        now = self._clock.monotonic()
        self._nameless = adopt(self._buffer, self._journal, self._iteration_id, self._problems, now)
        if self.awaits:
            self._pause = self._pause.failed(now, self._rng)


def adopt(buffer: Buffer, journal: Journal, iteration_id: UUID, problems: Problems, now: float) -> list[str]:
    """Bring buffer and journal together; says and returns which copies are not known. `now` is monotonic.

    Left-overs of recorded files and of broken-off copies are removed. A copy without a readable record stays where it
    is: nobody can ship it, and a person may want to look at it.
    """
    buffer.remove_temporaries()
    found: list[tuple[UUID, CopyRecord]] = []
    nameless: list[str] = []
    for name in sorted(buffer.names() - journal.files.buffered_names(), key=buffer.whereabouts):
        if journal.files.knows(name):
            buffer.remove(name)
            continue
        record = buffer.record(name)
        if record is not None and record.name(iteration_id) == name:
            found.append((record.artifact(iteration_id), record))
        else:
            nameless.append(name)
    found.sort(key=lambda item: item[1].settled_at)
    if found:
        buffer.sync_names()
    with journal.transaction():
        copies = [_copy(artifact, record) for artifact, record in found]
        needless = [copy.name for copy in copies if journal.files.add_copy(copy).name != copy.name]
    for name in needless:
        # The same content, compressed in another way.
        buffer.remove(name)
    if found:
        _log.info("took copies that the journal did not know", extra={"copies": len(found)})
    if journal.begun_anew:
        problems.raised(
            "journal",
            "JournalLost",
            "the sidecar's journal was damaged or gone and is begun anew from volume, buffer, store and API; what there"
            " was of it lies beside it as journal.db.damaged",
            now,
            files=0,
        )
    _tell(nameless, problems, now)
    return nameless


def _tell(nameless: list[str], problems: Problems, now: float) -> None:
    if nameless:
        problems.raised(
            COPIES,
            _UNKNOWN,
            f"{len(nameless)} copies in the buffer don't say what they are and can't be shipped: each may be the only"
            f" one of a file; they are left there, the first of them as files/{nameless[0]}",
            now,
            files=len(nameless),
        )
    else:
        problems.cleared(COPIES)


def _copy(artifact: UUID, record: CopyRecord) -> Copy:
    return Copy(
        path=os.fsdecode(record.path),
        fingerprint=Fingerprint(*record.fingerprint),
        suspect=record.suspect,
        settled_at=record.settled_at,
        name=object_name(artifact, record.digests.stored_sha256),
        digests=record.digests,
    )
