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
        self._workers.submit(lambda: self._remove(names))

    def collect(self) -> None:
        """Give the room back of the copies that are gone."""
        for names in self._workers.collect():
            for name in names:
                self._buffer.removed(name)

    def _remove(self, names: Sequence[str]) -> list[str]:
        removed = []
        for name in names:
            try:
                self._buffer.erase(name)
                removed.append(name)
            except OSError as error:
                # The next process sweeps it; until then it takes room.
                _log.warning("a copy can't be removed", extra={"copy": name, "error": str(error)})
        return removed
