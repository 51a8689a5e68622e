"""Short work of the database is done where the request was read, on the event loop.

On SQLite a small read or write takes less than handing it to a thread and back, which wakes two threads that want the
same interpreter. Nobody may be kept waiting for it: what would have to wait, for another writer, for a connection or
for another process, is handed over after all, and so is everything for a while once it has turned out to take long, as
it does on a slow disk. There writes that wait share a commit (write_queue.py).
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from litestar.concurrency import sync_to_thread

from pinnace_api.database import Busy, Database

_T = TypeVar("_T")

_LONG_SECONDS: Final = 0.004
_REST_SECONDS: Final = 1.0
#: One long one may be a checkpoint.
_MOST_LONG: Final = 2


class Pace:
    """Whether the work goes on being short. Not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._long = 0
        self._until = float("-inf")

    @property
    def is_brisk(self) -> bool:
        return self.clock() >= self._until

    def took(self, seconds: float) -> None:
        self._long = self._long + 1 if seconds >= _LONG_SECONDS else 0
        if self._long == _MOST_LONG:
            self._long = 0
            self._until = self.clock() + _REST_SECONDS


class Hand:
    """Does the database's work for the event loop, at once or on a thread."""

    def __init__(self, database: Database, pace: Pace | None = None) -> None:
        self._database = database
        self._pace = pace or Pace()

    async def do(self, work: Callable[[], _T], *, brief: bool = True) -> _T:
        """What `work` returns, or raises; it must be such that it can be begun twice until it has written.

        `brief`: it asks a handful of statements of the database and nothing of anybody else.
        """
        if brief and self._database.is_sqlite and self._pace.is_brisk:
            begun = self._pace.clock()
            try:
                with self._database.at_once():
                    return work()
            except Busy:
                pass
            finally:
                self._pace.took(self._pace.clock() - begun)
        return await sync_to_thread(work)
