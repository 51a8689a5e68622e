"""Removing the copies that are ashore, beside the loop: a busy disk takes milliseconds for each.

Only copies of recorded files come here. No new copy can have such a name, because the journal knows the content.
"""

import logging
from collections.abc import Sequence

from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.workers import Workers

_log = logging.getLogger(__name__)


class Sweeper:
    """One loop calls `sweep` and `collect`. A copy's room in the buffer is free when it has been removed."""

    def __init__(self, buffer: Buffer, workers: Workers[list[str]]) -> None:
        self._buffer = buffer
        self._workers = workers

    @property
    def busy(self) -> bool:
        """Whether copies are still to be removed."""
        return self._workers.busy > 0

    def sweep(self, names: Sequence[str]) -> None:
        """Have these copies removed. Not made durable: a copy that comes back after a power cut is swept."""
        if files := self._buffer.release(names):
            self._workers.submit(lambda: self._remove(files))

    def collect(self) -> None:
        """Give the room back of the files that are gone."""
        for files in self._workers.collect():
            for file in files:
                self._buffer.removed(file)

    def _remove(self, files: Sequence[str]) -> list[str]:
        removed = []
        for file in files:
            try:
                self._buffer.erase(file)
                removed.append(file)
            except OSError as error:
                # The next process sweeps it; until then it takes room.
                _log.warning("a copy can't be removed", extra={"copy": file, "error": str(error)})
        return removed
