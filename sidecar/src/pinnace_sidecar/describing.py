"""What a training says of its own iteration, in the lines of the SDK's events file: its tags and its notes.

The file is read while it is written, whole lines only, and what they come to is one edit of the iteration's row.
Nothing of it is journaled: a sidecar that starts again says all of it once more. What else the lines hold is for those
who read the artifact as which the file ships, and so is a line that can't be understood. Memory is bounded by one read.
"""

import logging
from contextlib import closing
from typing import Final

from msgspec import UNSET

from pinnace.naming import SDK_EVENTS_NAME
from pinnace.records import IterationPatch
from pinnace.tracking.events import Event, Noted, Tagged, from_line
from pinnace_sidecar.files import Fingerprint, Volume

READ_BYTES: Final = 2**20
NOTHING: Final = IterationPatch()

_log = logging.getLogger(__name__)


class Describer:
    """Reads on from where the last look ended; a file that was replaced or cut is another one, read from its start."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._looked: Fingerprint | None = None
        #: Whether there may be more than the last read took.
        self.is_behind = False
        self._offset = 0
        #: Whether the line at `_offset` is the rest of one that is too long.
        self._skipping = False

    def read(self) -> IterationPatch:
        """What the next lines say; NOTHING when that is nothing, there are none, or the file can't be read."""
        now = self._volume.fingerprint(SDK_EVENTS_NAME)
        if now is None or (now == self._looked and not self.is_behind):
            return NOTHING
        if self._looked is None or now.inode != self._looked.inode or now.size < self._offset:
            self._offset, self._skipping = 0, False
        try:
            with closing(self._volume.open(SDK_EVENTS_NAME)) as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except OSError as error:
            _log.debug("the events can't be read", extra={"error": str(error)})
            return NOTHING
        self._looked, self.is_behind = now, len(data) == READ_BYTES
        return self._take(data)

    def _take(self, data: bytes) -> IterationPatch:
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) == READ_BYTES:
                self._offset, self._skipping = self._offset + len(data), True
            return NOTHING
        lines = data[:end].split(b"\n")
        if self._skipping:
            del lines[0]
        self._offset, self._skipping = self._offset + end, False
        change = NOTHING
        for line in lines:
            if line:
                change = joined(change, _change(line))
        return change


def joined(before: IterationPatch, after: IterationPatch) -> IterationPatch:
    """Both, one after the other, as one."""
    return IterationPatch(
        tags={**before.tags, **after.tags} if before.tags and after.tags else after.tags or before.tags,
        notes=before.notes if after.notes is UNSET else after.notes,
    )


def _change(line: bytes) -> IterationPatch:
    try:
        event: Event = from_line(line)
    except ValueError:
        return NOTHING
    match event:
        case Tagged(values=tags):
            return IterationPatch(tags=tags)
        case Noted(text=text):
            return IterationPatch(notes=text)
        case _:
            return NOTHING
