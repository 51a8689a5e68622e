"""Named points between two durable steps, where a test may end the process to see that a restart converges."""

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    """Each name says what is durable already; what comes next is not."""

    #: The copy is in the buffer, the journal does not know it.
    COPY_WRITTEN = "copy-written"
    #: The journal knows the copy, nothing was sent.
    COPY_JOURNALED = "copy-journaled"
    #: The store has a multipart upload, the journal has no id of it.
    UPLOAD_OPENED = "upload-opened"
    #: The journal has the id of a multipart upload without parts.
    UPLOAD_JOURNALED = "upload-journaled"
    #: The store has a part, the journal does not know it.
    PART_SENT = "part-sent"
    #: The journal knows a part.
    PART_JOURNALED = "part-journaled"
    #: The store has made the object of its parts, the journal does not know.
    UPLOAD_COMPLETED = "upload-completed"
    #: The store has an object sent in one piece, the journal does not know.
    OBJECT_SENT = "object-sent"
    #: The journal says that the file shares another artifact's object.
    SHARE_JOURNALED = "share-journaled"
    #: The journal says that the store has the object.
    STORED_JOURNALED = "stored-journaled"
    #: The journal says that the store's word equals our digests.
    VERIFIED_JOURNALED = "verified-journaled"
    #: The API has the row, the journal does not know.
    ROW_SENT = "row-sent"
    #: The journal knows of the row, the copy is still in the buffer.
    ROW_JOURNALED = "row-journaled"
    #: Metric lines and their offset are in the journal, not sent.
    POINTS_JOURNALED = "points-journaled"
    #: The API has the points, they are still in the outbox.
    POINTS_SENT = "points-sent"
    #: The API has the final report, the termination message isn't written.
    REPORT_SENT = "report-sent"


Crash = Callable[[CrashPoint], None]


def never(point: CrashPoint) -> None:
    """Pass every point."""
