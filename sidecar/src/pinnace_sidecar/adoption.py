"""At a start: copies in the buffer that the journal does not know are taken into it, never thrown away.

They are there when a process ended between the two, or when the journal was lost.
"""

import logging
import os
from typing import Final
from uuid import UUID

from pinnace.ids import object_name
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Copy, Journal
from pinnace_sidecar.problems import Problems

_log = logging.getLogger(__name__)

#: The subject of problems with copies that don't say what they are.
COPIES: Final = "copies"


def adopt(buffer: Buffer, journal: Journal, iteration_id: UUID, problems: Problems, now: float) -> None:
    """Bring buffer and journal together, and say what was lost. `now` is monotonic.

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
    if nameless:
        problems.raised(
            COPIES,
            "CopiesUnknown",
            f"{len(nameless)} copies in the buffer don't say what they are and can't be shipped; they are left there,"
            f" the first of them as files/{nameless[0]}",
            now,
            files=len(nameless),
        )


def _copy(artifact: UUID, record: CopyRecord) -> Copy:
    return Copy(
        path=os.fsdecode(record.path),
        fingerprint=Fingerprint(*record.fingerprint),
        suspect=record.suspect,
        settled_at=record.settled_at,
        name=object_name(artifact, record.digests.stored_sha256),
        digests=record.digests,
    )
